'use strict';
// Whatever comes from the switch becomes text or an attribute's value, never markup.
const MOST_PICTURED = 96, MOST_ROWS = 200, MOST_EVENTS = 50;
const $ = (id) => document.getElementById(id);
const ports = new Map(); // by name: as GET /v1/ports
const stats = new Map(); // by name: as GET /v1/stats
const rates = new Map(); // by name: frames and bits a second, drops by reason
let at = 0, chosen = '', queued = false, searched = 0;

function make(tag, attributes, ...children) {
  const svg = ['svg', 'g', 'rect', 'circle', 'text', 'title'].includes(tag);
  const e = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k === 'click') e.addEventListener('click', v);
    else e.setAttribute(k, v);
  }
  e.append(...children.map((c) => (c instanceof Node ? c : plain(c))));
  return e;
}
// plain shows control characters and those that turn the direction of writing.
const plain = (v) => String(v ?? '').replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0'));
// fill exchanges the rows of a table, but keeps the focus on a button.
function fill(body, rows) {
  const key = document.activeElement && body.contains(document.activeElement) && document.activeElement.dataset.key;
  body.replaceChildren(...rows);
  if (key) [...body.querySelectorAll('[data-key]')].find((b) => b.dataset.key === key)?.focus();
}
const row = (...cells) => make('tr', {}, ...cells);
const cell = (v, c) => make('td', c ? { class: c } : {}, v);

function si(n, unit) {
  const steps = ['', 'k', 'M', 'G', 'T'];
  let i = 0;
  for (; n >= 1000 && i < steps.length - 1; i++) n /= 1000;
  return (i && n < 100 ? n.toFixed(1) : n.toFixed(0)) + ' ' + steps[i] + unit;
}
const rateText = (r) => (r ? si(r.bits, 'bit/s') + ', ' + si(r.frames, 'frames/s') : '');
const seconds = (s) => (s < 120 ? Math.round(s) + ' s' : s < 7200 ? Math.round(s / 60) + ' min' : s < 172800 ? Math.round(s / 3600) + ' h' : Math.round(s / 86400) + ' days');

// VLANs. Colours differ most between neighbouring VIDs; the number always stands beside.
const hue = (vid) => Math.round((vid * 137.508) % 360);
const colour = (vid) => (vid ? 'hsl(' + hue(vid) + ' 65% var(--light))' : 'var(--dim)');
const list = (v) => (v === undefined || v === null ? '' : Array.isArray(v) ? v.join(',') : String(v));
const own = (c) => c.access || c.native || c.pvid || 0;
function vlansOf(c) {
  const out = own(c) ? [[own(c), String(own(c))]] : [];
  for (const part of [list(c.trunk), list(c.tagged)].join(',').split(',').filter(Boolean)) out.push([parseInt(part, 10) || 0, part + ' tagged']);
  return out;
}
function chip(vid, text, tag = 'span') {
  const e = make(tag, { class: 'chip' }, text);
  e.style.borderColor = colour(vid);
  return e;
}
function chips(c) {
  const all = vlansOf(c), cell = make('span', { class: 'chips' }, ...all.slice(0, 8).map(([v, t]) => chip(v, t)));
  if (all.length > 8) cell.append(make('span', {}, '+' + (all.length - 8)));
  return cell;
}

function drawPicture() {
  const shown = [...ports.values()].slice(0, MOST_PICTURED), width = $('picture').clientWidth || 600;
  const w = 92, h = 84, columns = Math.max(1, Math.min(shown.length || 1, Math.floor((width - 20) / w)));
  const svg = make('svg', { viewBox: `0 0 ${columns * w + 20} ${Math.ceil(shown.length / columns) * h + 20}`, role: 'group', 'aria-label': 'the ports of the switch' });
  svg.style.maxWidth = columns * w + 20 + 'px';
  svg.append(make('rect', { class: 'case', x: 1, y: 1, width: columns * w + 18, height: Math.ceil(shown.length / columns) * h + 18, rx: 8 }));
  shown.forEach((p, i) => {
    const x = 10 + (i % columns) * w, y = 10 + Math.floor(i / columns) * h, c = p.config, name = plain(p.name);
    const socket = make('rect', { class: 'socket', x: x + 22, y: y + 6, width: 48, height: 34, rx: 4 });
    if (own(c)) socket.style.stroke = colour(own(c));
    const g = make('g', { tabindex: 0, role: 'button', 'data-key': p.name, 'aria-label': name + ', link ' + (p.up ? 'up' : 'down') },
      make('title', {}, name + (c.description ? ': ' + c.description : '')), socket,
      make('circle', { class: 'led ' + (p.up ? 'up' : 'down'), cx: x + 32, cy: y + 16, r: 4 }),
      make('text', { x: x + 53, y: y + 21 }, own(c) || ''),
      make('text', { x: x + 46, y: y + 56 }, name.length > 13 ? name.slice(0, 12) + '…' : name),
      make('text', { class: 'rate', x: x + 46, y: y + 70, 'data-rate': p.name }));
    vlansOf(c).filter(([, t]) => t.includes('tagged')).slice(0, 5).forEach(([v], j) => {
      const bar = make('rect', { x: x + 28 + j * 8, y: y + 31, width: 6, height: 5 });
      bar.style.fill = colour(v);
      g.append(bar);
    });
    g.addEventListener('click', () => choose(p.name));
    g.addEventListener('keydown', (e) => {
      if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); choose(p.name); }
    });
    svg.append(g);
  });
  const all = [svg];
  if (ports.size > shown.length) all.push(make('p', { class: 'note' }, `${ports.size - shown.length} more ports are in the list only`));
  fill($('picture'), all);
  const vids = new Map();
  for (const p of ports.values()) for (const [v, t] of vlansOf(p.config)) vids.set(t.replace(' tagged', ''), v);
  $('vlans').replaceChildren(...[...vids].sort((a, b) => a[1] - b[1]).slice(0, 64).map(([t, v]) => chip(v, 'VLAN ' + t, 'li')));
  drawRates();
}

function drawRates() {
  for (const t of document.querySelectorAll('[data-rate]')) {
    const r = rates.get(t.dataset.rate);
    t.textContent = r && r.rx.bits + r.tx.bits ? si(r.rx.bits + r.tx.bits, 'bit/s') : '';
  }
}

function drawPorts() {
  const want = $('filter').value.toLowerCase(), all = [...ports.values()].filter((p) => (p.name + ' ' + (p.config.description || '')).toLowerCase().includes(want));
  fill($('ports').tBodies[0], all.slice(0, MOST_ROWS).map((p) => {
    const s = stats.get(p.name), r = rates.get(p.name);
    return row(make('td', { class: 'name' }, make('button', { class: 'link', 'data-key': p.name, click: () => choose(p.name) }, p.name)),
      cell(p.up ? 'up' : 'down', p.up ? 'up' : 'down'), make('td', {}, chips(p.config)),
      cell(rateText(r && r.rx), 'n'), cell(rateText(r && r.tx), 'n'), cell(s ? s.rx.dropped + s.tx.dropped : '', 'n'));
  }));
  $('more').textContent = all.length > MOST_ROWS ? `${all.length - MOST_ROWS} more: narrow the list by name` : '';
}

function drawDrops() {
  const drops = [];
  for (const [name, s] of stats) {
    for (const [reason, n] of [...Object.entries(s.dropped_ingress || {}), ...Object.entries(s.dropped_egress || {})]) {
      drops.push({ name, reason, n, rate: rates.get(name)?.drops[reason] || 0 });
    }
  }
  drops.sort((a, b) => b.rate - a.rate || b.n - a.n);
  fill($('drops').tBodies[0], drops.slice(0, MOST_ROWS).map((d) => row(cell(d.name, 'name'), cell(d.reason), cell(d.n, 'n'), cell(si(d.rate, ''), 'n'),
    make('td', {}, make('button', { 'data-key': d.name + ' ' + d.reason, 'aria-label': `why does ${plain(d.name)} drop ${d.reason}`, click: () => why(d.name, d.reason) }, 'why')))));
  $('nodrops').hidden = drops.length > 0;
}

function pairs(to, entries) {
  to.replaceChildren(...entries.filter(([, v]) => v !== undefined && v !== null && v !== '').flatMap(([k, v]) => [make('dt', {}, k), make('dd', {}, v)]));
}

function choose(name) {
  chosen = name;
  drawDetails();
  $('details').scrollIntoView({ block: 'nearest' });
  $('details').focus();
}

function drawDetails() {
  const p = ports.get(chosen);
  $('details').hidden = !p;
  if (!p) return;
  const s = stats.get(chosen), c = p.config;
  $('h-details').textContent = 'Port ' + plain(p.name);
  pairs($('details').querySelector('dl'), [
    ['description', c.description], ['link', p.ifname + (p.netns ? ' in ' + p.netns : '') + (p.up ? ', up' : ', down')],
    ['kind', p.kind], ['state', p.state], ['MAC', p.mac], ['MTU', p.mtu], ['VLANs', vlansOf(c).length ? chips(c) : ''],
    ['stations', p.fdb_learned], ['made by', p.origin], ['received', s && `${s.rx.packets} frames, ${si(s.rx.bytes, 'B')}`],
    ['transmitted', s && `${s.tx.packets} frames, ${si(s.tx.bytes, 'B')}`], ['dropped', s && s.rx.dropped + s.tx.dropped]]);
}

async function ask(path, query) {
  const reply = await fetch(path + '?' + new URLSearchParams(query)), body = await reply.json();
  if (!reply.ok) throw new Error(body.message);
  return body;
}

async function why(port, reason) {
  const box = $('why');
  let groups = [];
  try {
    groups = (await ask('/page/why', { port, reason })).groups;
  } catch (e) {
    groups = [{ port, reason, text: e.message }];
  }
  box.replaceChildren(...groups.flatMap((g) => {
    const l = make('dl');
    pairs(l, [['frames', g.frames], ['what', g.text], ['stage', g.stage], ['because', g.because], ['set by', g.origin], ['to do', g.fix], ['last', g.last], ['a frame', g.sample]]);
    return [make('h2', {}, `${g.reason} at ${g.port}${g.direction ? ', ' + g.direction : ''}`), l];
  }));
  box.hidden = false;
  box.focus();
}

async function search() {
  const number = ++searched;
  let found;
  try {
    found = await ask('/page/fdb', { q: $('q').value });
  } catch (e) {
    $('found').textContent = plain(e.message);
    return;
  }
  if (number !== searched) return; // A later one is under way.
  $('fdb').tBodies[0].replaceChildren(...found.entries.map((e) => row(cell(e.mac), cell(e.vlan || ''), cell(e.port || '', 'name'), cell(e.state), cell(e.age === undefined ? '' : seconds(e.age), 'n'))));
  $('found').textContent = found.matches + (found.matches === 1 ? ' entry' : ' entries') + (found.matches > found.entries.length ? `, the first ${found.entries.length} shown` : '');
}

function happened(e) {
  const { time, type, event, ...rest } = e, said = Object.entries(rest).map(([k, v]) => k + ' ' + v).join(', ');
  $('events').prepend(make('li', {}, [time ? new Date(time).toLocaleTimeString() : '', type, event || '', said].join(' ')));
  while ($('events').children.length > MOST_EVENTS) $('events').lastChild.remove();
  $('noevents').hidden = true;
}

function count(sample) {
  const passed = sample.at - at, direction = (now, old) => ({ frames: (now.packets - old.packets) / passed, bits: ((now.bytes - old.bytes) * 8) / passed });
  rates.clear();
  for (const s of sample.ports) {
    const old = stats.get(s.name);
    stats.set(s.name, s);
    if (!old || at === 0 || passed <= 0 || old.rx.packets > s.rx.packets) continue;
    const drops = {};
    for (const k of ['dropped_ingress', 'dropped_egress']) for (const [why, n] of Object.entries(s[k] || {})) drops[why] = (n - ((old[k] || {})[why] || 0)) / passed;
    rates.set(s.name, { rx: direction(s.rx, old.rx), tx: direction(s.tx, old.tx), drops });
  }
  at = sample.at;
}

function redraw() { // once for what comes together, and not while nobody sees it
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    drawRates();
    drawPorts();
    drawDrops();
    drawDetails();
  });
}

function connect() {
  const source = new EventSource('/page/live'), on = (name, f) => source.addEventListener(name, (m) => f(JSON.parse(m.data)));
  source.onopen = () => { at = 0; stats.clear(); $('events').replaceChildren(); };
  source.onerror = () => {
    $('status').textContent = 'no connection: the figures are old';
    $('status').className = 'lost';
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  };
  on('status', (s) => {
    $('status').className = '';
    $('status').textContent = `${s.version}, ${s.ports_up} of ${s.ports} ports up, ${s.fdb.dynamic + s.fdb.static + s.fdb.blackhole} of ${s.fdb.capacity} FDB entries, up ${seconds(s.uptime)}`;
  });
  on('ports', (all) => {
    ports.clear();
    for (const p of all) ports.set(p.name, p);
    for (const name of stats.keys()) if (!ports.has(name)) stats.delete(name);
    drawPicture();
    redraw();
  });
  on('stats', (s) => { count(s); redraw(); });
  on('event', happened);
}

let typing = 0;
$('q').addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(search, 250); });
$('filter').addEventListener('input', redraw);
let width = 0;
new ResizeObserver(() => {
  if ($('picture').clientWidth !== width) { width = $('picture').clientWidth; requestAnimationFrame(drawPicture); }
}).observe($('picture'));
search();
connect();
