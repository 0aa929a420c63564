"""Driver of the black-box acceptance suite for the real vswitchd.

Binaries are taken from $VSWITCH_BIN, or bin/ of this checkout (`make build`).
The daemon runs in a namespace of its own; each port is a TAP that it moves
into a station's namespace as e0.
"""
import http.client, itertools, json, os, shutil, signal, socket, subprocess, tempfile, time
from drivers.base import Driver
from harness import mac, mstr, netns_add, netns_del, run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get('VSWITCH_BIN', os.path.join(ROOT, 'bin'))
PORT = json.loads(os.environ.get('VSWITCH_TEST_PORT', '{}'))  # more keys of each port, as nettest.Port has them
_n = itertools.count()


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('vswitchd', timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def vlan_keys(cfg):
    """the suite's VLAN dictionaries as our configuration keys"""
    if not cfg:
        return {}
    if 'access' in cfg:
        return {'access': cfg['access']}
    keys = {'trunk': [v if isinstance(v, int) else '%d-%d' % v for v in cfg['trunk']]}
    if cfg.get('native'):
        keys['native'] = cfg['native']
    return keys


class Vswitchd(Driver):
    name = 'vswitchd'
    min_ageing = 10
    features = frozenset({'vlan'})

    def setup(self, n_ports, config):
        self.id = 'ac%d-%d' % (os.getpid(), next(_n))
        self.config, self.hosts, self.n = config, {}, n_ports
        self.dir = tempfile.mkdtemp(prefix='accvs')
        self.socket = self.dir + '/s'
        self.log = open(self.dir + '/log', 'w')
        self.sw = netns_add(self.id + 'sw')
        ports = []
        for i in range(n_ports):
            self.hosts[i] = netns_add('%sh%d' % (self.id, i))
            ports.append(self._port(i, (config.get('ports') or {}).get(i)))
        with open(self.dir + '/vswitchd.yaml', 'w') as f:
            json.dump({'vlan_aware': bool(config.get('vlan')), 'ports': ports}, f)    # JSON is YAML
        self._start()
        self.wait_ready()      # the suite opens its sockets on e0 at once
        return [(self.hosts[i], 'e0') for i in range(n_ports)]

    def _port(self, i, vlan=None):
        return {'name': 'p%d' % i, 'netns': self.hosts[i], 'ifname': 'e0', 'mtu': self.config.get('mtu', 1500), **vlan_keys(vlan), **PORT}

    def _start(self):
        self.proc = subprocess.Popen(
            ['nsenter', '--net=/run/netns/' + self.sw, BIN + '/vswitchd', '--config', self.dir + '/vswitchd.yaml',
             '--socket', self.socket, '--metrics-listen', 'none'], stdout=self.log, stderr=self.log)

    def teardown(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.log.close()
        for h in self.hosts.values():
            netns_del(h)
        netns_del(self.sw)
        self.hosts = {}
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait_ready(self):
        end, last = time.monotonic() + 10, ''
        while time.monotonic() < end:
            if not self.alive():
                raise RuntimeError('vswitchd ended: ' + self.log_tail())
            try:
                last = self._api('GET', '/v1/status')
                if last['ports_up'] == len(self.hosts):
                    return
            except OSError as e:
                last = e
            time.sleep(0.01)
        raise RuntimeError('vswitchd is not ready: %s' % last)

    def _api(self, method, path, body=None):
        c = UnixHTTP(self.socket)
        try:
            c.request(method, path, json.dumps(body) if body is not None else None)
            r = c.getresponse()
            data = r.read()
            if r.status >= 300:
                raise RuntimeError('%s %s: %d %s' % (method, path, r.status, data.decode()[:300]))
            return json.loads(data) if data else None
        finally:
            c.close()

    def _set(self, i, **keys):
        self._api('PATCH', '/v1/ports/p%d' % i, keys)

    def set_port_vlan(self, i, cfg):
        self._set(i, **vlan_keys(cfg))

    def set_ageing(self, seconds):
        self._api('PATCH', '/v1/fdb/settings', {'ageing': int(seconds)})

    def fdb_add_static(self, i, m, vid=None):
        m = m if isinstance(m, str) else mstr(m)
        self._api('POST', '/v1/fdb', {'mac': m, 'port': 'p%d' % i, 'state': 'static', **({'vlan': vid} if vid else {})})

    def fdb_del(self, i, m, vid=None):
        m = m if isinstance(m, str) else mstr(m)
        self._api('DELETE', '/v1/fdb?mac=%s%s' % (m, '&vlan=%d' % vid if vid else ''))

    def fdb_show(self):
        return [{'mac': mac(e['mac']), 'port': int(e['port'][1:]), 'vid': e.get('vlan'), 'static': e['state'] == 'static'}
                for e in self._api('GET', '/v1/fdb') if e.get('port')]

    def fdb_flush(self, i=None):
        self._api('POST', '/v1/fdb/flush', {} if i is None else {'port': 'p%d' % i})

    def isolate(self, i, on=True):
        self._set(i, isolated=on)

    def set_learning(self, i, on):
        self._set(i, learning=on)

    def set_unknown_flood(self, i, on):
        self._set(i, flood=on)

    def learning_limit(self, n, i=None):
        if i is None:
            self._api('PATCH', '/v1/fdb/settings', {'limit': n})
        else:
            self._set(i, limit=n)

    def set_mtu(self, i, mtu):
        self._set(i, mtu=mtu)

    def link(self, i, up):
        run('ip', '-n', self.hosts[i], 'link', 'set', 'e0', 'up' if up else 'down')

    def port_add(self, **cfg):
        i, self.n = self.n, self.n + 1
        self.hosts[i] = netns_add('%sh%d' % (self.id, i))
        self._api('POST', '/v1/ports', self._port(i, cfg.get('vlan')))
        return i, self.hosts[i], 'e0'

    def port_remove(self, i):
        self._api('DELETE', '/v1/ports/p%d' % i)
        netns_del(self.hosts.pop(i))

    def restart(self, kill=False):
        self.proc.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self.proc.wait(10)
        self._start()
        self.wait_ready()

    def stats(self, i):
        s = self._api('GET', '/v1/ports/p%d' % i)['stats']
        return {'rx_frames': s['rx']['packets'], 'tx_frames': s['tx']['packets'], 'rx_bytes': s['rx']['bytes'],
                'tx_bytes': s['tx']['bytes'], 'dropped': s['rx']['dropped'] + s['tx']['dropped']}

    def resources(self):
        pid = self.proc.pid
        st = dict(l.split(':', 1) for l in open('/proc/%d/status' % pid))
        return {'rss': int(st['VmRSS'].split()[0]) * 1024, 'fds': len(os.listdir('/proc/%d/fd' % pid)), 'tasks': int(st['Threads'])}

    def control_latency(self):
        t = time.monotonic()
        run(BIN + '/vswitchctl', '--socket', self.socket, 'status')
        return time.monotonic() - t

    def alive(self):
        return self.proc.poll() is None

    def log_tail(self):
        with open(self.dir + '/log') as f:
            return ' | '.join(l.strip() for l in f.readlines()[-3:])


DRIVER = Vswitchd
