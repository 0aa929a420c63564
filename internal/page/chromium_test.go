package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port/porttest"
)

var shots = flag.String("shots", "", "a directory for pictures of the page")

// browser is a tab of a Chromium that is spoken to by the DevTools protocol.
type browser struct {
	t        *testing.T
	out      *os.File
	in       *bufio.Reader
	session  string
	id       int
	problems []string // what the console or the log of the browser had to say
}

type devtools struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// newBrowser starts the Chromium that test/chromium.sh has unpacked into the
// directory VSWITCH_CHROMIUM.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	dir := os.Getenv("VSWITCH_CHROMIUM")
	if dir == "" {
		t.Skip("VSWITCH_CHROMIUM is not set; make page gets a Chromium")
	}
	toRead, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirs, toWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu"))
	if err != nil || len(libraries) == 0 {
		t.Fatalf("%s has no libraries: %v", dir, err)
	}
	root := filepath.Join(dir, "lib", filepath.Base(libraries[0]))
	c := exec.Command(filepath.Join(dir, "usr/lib/chromium/chromium-headless-shell"), "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries[0]+":"+root+":"+libraries[0]+"/pulseaudio")
	c.ExtraFiles = []*os.File{toRead, toWrite} // 3 and 4
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = toRead.Close()
	_ = toWrite.Close()
	// One that hangs ends too: then the pipe breaks, and the test with it.
	guard := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	b := &browser{t: t, out: ours, in: bufio.NewReader(theirs)}
	t.Cleanup(func() {
		guard.Stop()
		_ = b.out.Close() // It ends by that.
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", `{"url":"about:blank"}`, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, target.TargetID), &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", `{}`, nil)
	}
	return b
}

// call makes a call and waits for its result. What the console says meanwhile is
// kept.
func (b *browser) call(method, params string, to any) {
	b.t.Helper()
	b.id++
	request := map[string]any{"id": b.id, "method": method, "params": json.RawMessage(params)}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.in.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: Chromium has ended: %v", method, err)
		}
		var m devtools
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			b.t.Fatal(err)
		}
		switch m.Method {
		case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
			b.problems = append(b.problems, string(m.Params))
		}
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if to != nil {
			if err := json.Unmarshal(m.Result, to); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// until waits for an expression of the page to become true.
func (b *browser) until(expression string) {
	b.t.Helper()
	js := fmt.Sprintf(`new Promise((ok) => { const end = Date.now() + 15000, look = () => {
		if (%s) ok('true'); else if (Date.now() > end) ok(document.body.innerText); else setTimeout(look, 50); }; look(); })`, expression)
	if got := b.eval(js); got != "true" {
		b.t.Fatalf("it never came true that %s, on the page:\n%s", expression, got)
	}
}

// eval returns the value of an expression, a string.
func (b *browser) eval(js string) string {
	b.t.Helper()
	params, err := json.Marshal(map[string]any{"expression": js, "awaitPromise": true, "returnByValue": true})
	if err != nil {
		b.t.Fatal(err)
	}
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	if b.call("Runtime.evaluate", string(params), &got); got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", js, got.ExceptionDetails)
	}
	return fmt.Sprint(got.Result.Value)
}

func (b *browser) size(width, height int, mobile bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", fmt.Sprintf(`{"width":%d,"height":%d,"deviceScaleFactor":1,"mobile":%t}`, width, height, mobile), nil)
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", fmt.Sprintf(`{"features":[{"name":"prefers-color-scheme","value":%q}]}`, name), nil)
}

// shoot keeps a picture, if somebody wants it.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	var got struct{ Data string }
	b.call("Page.captureScreenshot", `{"format":"png"}`, &got)
	png, err := base64.StdEncoding.DecodeString(got.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) key(name string) {
	b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", fmt.Sprintf(`{"type":%q,"key":%q,"code":%q}`, kind, name, name), nil)
	}
}

func TestPageInChromium(t *testing.T) {
	b, r := newBrowser(t), newRig(t)
	b.size(1100, 900, false)
	b.scheme("light")
	b.call("Page.navigate", fmt.Sprintf(`{"url":%q}`, r.url), nil)
	b.until(`document.querySelectorAll('svg g[role=button]').length === 5 && document.querySelectorAll('.led.down').length === 1`)

	r.send(500)
	b.until(`document.querySelector('#ports tbody').textContent.includes('frames/s')`)
	b.until(`document.querySelector('#drops tbody').textContent.includes('frame_type')`)
	b.eval(`document.querySelector('#drops button').click()`)
	b.until(`document.getElementById('why').textContent.includes('does not admit this kind of frame')`)
	b.eval(`document.getElementById('q').value = '02:00', document.getElementById('q').dispatchEvent(new Event('input'))`)
	b.until(`document.querySelector('#fdb tbody').textContent.includes('02:00:00:00:00:01')`)

	// By keyboard, as on the others.
	b.eval(`document.querySelector('svg g[data-key=web]').focus()`)
	b.key("Enter")
	b.until(`document.activeElement.id === 'details'`)
	b.until(`document.getElementById('details').textContent.includes(` + fmt.Sprintf("%q", hostile) + `)`)
	if got := b.eval(`document.title + document.querySelectorAll('img, script[src], section script').length`); got != "vswitchd0" {
		t.Errorf("a description became markup: %s", got)
	}

	if err := r.sw.Set("web", func(c config.Port) (config.Port, error) { c.Description = "the shop"; return c, nil }); err != nil {
		t.Fatal(err)
	}
	b.until(`document.getElementById('details').textContent.includes('the shop')`)
	if err := r.sw.Remove("cam"); err != nil {
		t.Fatal(err)
	}
	b.until(`document.getElementById('events').textContent.includes('cam') && document.querySelectorAll('svg g[role=button]').length === 4`)
	r.attach(config.Port{Name: "cam", Access: 20}, porttest.NewCable(16), true)
	b.until(`document.querySelectorAll('svg g[role=button]').length === 5`)

	light := b.eval(`getComputedStyle(document.body).backgroundColor`)
	b.eval(`document.activeElement.blur(), scrollTo(0, 0)`)
	r.send(2000)
	b.until(`document.querySelector('#ports tbody').textContent.includes('frames/s')`)
	b.shoot("page.png")
	b.scheme("dark")
	if dark := b.eval(`getComputedStyle(document.body).backgroundColor`); dark == light {
		t.Errorf("the dark page is %s, as the light one", dark)
	}
	b.shoot("page-dark.png")
	b.size(390, 844, true)
	b.until(`document.querySelector('svg').getBoundingClientRect().width < 390`)
	if got := b.eval(`document.documentElement.scrollWidth`); got != "390" {
		t.Errorf("a page of 390 pixels is %s wide", got)
	}
	b.eval(`scrollTo(0, 0)`)
	b.shoot("page-phone.png")
	if len(b.problems) > 0 {
		t.Errorf("the console says:\n%s", strings.Join(b.problems, "\n"))
	}
}
