package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// keptRig is a switch with ports a and b whose running configuration is kept,
// and that has a startup file which says the same.
type keptRig struct {
	*Running
	t    *testing.T
	file string
	log  *lockedBuffer
}

func newKeptRig(t *testing.T) *keptRig {
	t.Helper()
	sw := newSwitch(t, map[string]*porttest.Cable{"a": porttest.NewCable(1), "b": porttest.NewCable(1)})
	dir := t.TempDir()
	file, log := filepath.Join(dir, "startup.yaml"), &lockedBuffer{}
	text := []byte("# mine\nvlan_aware: true\nports: [{name: a, access: 10}, {name: b, access: 10}]\n")
	if err := os.WriteFile(file, text, 0o640); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRunning(sw, filepath.Join(dir, "kept"), Startup{file, c, config.Sum(text)}, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(r.Close)
	if err := r.Keep(); err != nil {
		t.Fatal(err)
	}
	return &keptRig{r, t, file, log}
}

// has fails unless configuration and file say that port a has the MTU.
func (r *keptRig) has(mtu, keptMTU int) {
	r.t.Helper()
	if got := r.Config().Ports[0].MTU; got != mtu {
		r.t.Errorf("running MTU %d, want %d", got, mtu)
	}
	data, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	kept, err := config.ParseKept(r.path, data)
	if err != nil || kept.Config.Ports[0].MTU != keptMTU {
		r.t.Errorf("kept %v, want MTU %d:\n%s", err, keptMTU, data)
	}
}

// with returns the running configuration with another MTU of port a.
func (r *keptRig) with(mtu int) *config.Config {
	c := r.Config()
	c.Ports[0].MTU = mtu
	return c
}

func TestAppliedConfigurationIsKept(t *testing.T) {
	r := newKeptRig(t)
	changes, err := r.Apply(r.with(1400), 0)
	if err != nil || fmt.Sprint(changes) != "[+ ports[a].mtu: 1400]" {
		t.Errorf("%v, %v", changes, err)
	}
	r.has(1400, 1400)
}

func TestUnconfirmedConfigurationIsReverted(t *testing.T) {
	r := newKeptRig(t)
	if _, err := r.Apply(r.with(1400), time.Hour); err != nil {
		t.Fatal(err)
	}
	r.has(1400, 0) // A crash now ends the trial too.
	wantCode(t, r.Change(func() error { return nil }), CodeConflict, "on trial", "config confirm")
	_, err := r.Apply(r.with(1300), 0)
	wantCode(t, err, CodeConflict, "on trial")
	wantCode(t, r.Save(), CodeConflict, "on trial")
	r.trial.end.Reset(0)
	for deadline := time.Now().Add(10 * time.Second); r.Config().Ports[0].MTU != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not reverted")
		}
	}
	wantCode(t, r.Confirm(), CodeConflict, "no configuration is on trial")
	r.has(0, 0)
	if !strings.Contains(r.log.String(), "not confirmed in time") {
		t.Errorf("log: %s", r.log)
	}
}

func TestConfirmedConfigurationStays(t *testing.T) {
	r := newKeptRig(t)
	if _, err := r.Apply(r.with(1400), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.Confirm(); err != nil {
		t.Fatal(err)
	}
	r.has(1400, 1400)
	r.revert(&trial{before: r.with(0)}) // A timer that fired at the same moment.
	r.has(1400, 1400)
}

func TestChangeIsNotBegunIfItCannotBeKept(t *testing.T) {
	r := newKeptRig(t)
	if err := os.Mkdir(r.path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.Change(func() error { t.Error("it was begun"); return nil }), CodeFailed, "nothing was changed", r.path)
	_, err := r.Apply(r.with(1400), 0)
	wantCode(t, err, CodeFailed, "nothing was changed")
	_, err = r.Apply(r.with(1400), time.Hour)
	wantCode(t, err, CodeFailed, "nothing was changed")
	r.has(0, 0)
}

func TestChangeIsTakenBackIfItIsNotKeptAfterAll(t *testing.T) {
	r := newKeptRig(t)
	next := r.with(1400)
	err := r.Change(func() error {
		if err := r.apply(next); err != nil {
			return err
		}
		// The directory goes away between beginning and end.
		return os.Rename(filepath.Dir(r.path), filepath.Dir(r.path)+".away")
	})
	if renameErr := os.Rename(filepath.Dir(r.path)+".away", filepath.Dir(r.path)); renameErr != nil {
		t.Fatal(renameErr)
	}
	wantCode(t, err, CodeFailed, "nothing was changed")
	r.has(0, 0)
}

func TestFailedChangeLeavesTheFile(t *testing.T) {
	r := newKeptRig(t)
	bad := errors.New("bad")
	if err := r.Change(func() error { return bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	r.has(0, 0)
	if _, err := os.Stat(r.path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestSavedFileIsTheRunningConfiguration(t *testing.T) {
	r := newKeptRig(t)
	old, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(r.file), "link")
	if err := os.Symlink(r.file, link); err != nil {
		t.Fatal(err)
	}
	r.startup.File = link
	if _, err := r.Apply(r.with(1400), 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	saved, err := config.Load(r.file)
	if err != nil || len(config.Diff(saved, r.Config())) != 0 {
		t.Errorf("saved %+v, %v", saved, err)
	}
	if backup, err := os.ReadFile(r.file + ".bak"); err != nil || string(backup) != string(old) {
		t.Errorf("backup %q, %v", backup, err)
	}
	if st, err := os.Stat(r.file); err != nil || st.Mode() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	// It goes back to the new file, so that it is resumed with it.
	data, _ := os.ReadFile(r.file)
	text, _ := os.ReadFile(r.path)
	if kept, err := config.ParseKept("", text); err != nil || kept.Startup != config.Sum(data) {
		t.Errorf("kept for startup file %s, %v", kept.Startup, err)
	}
}

func TestReloadAppliesTheFileOrNothing(t *testing.T) {
	r := newKeptRig(t)
	write := func(text string) {
		if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, says := range map[string]string{
		"vlan_aware: true\nprots: []\n":               "prots",
		"vlan_aware: false\n":                         "restart the daemon",
		"vlan_aware: true\nmetrics: {listen: none}\n": "metrics",
		"vlan_aware: true\ncontrol: {group: \"1\"}\n": "control",
		"vlan_aware: true\nfdb: {capacity: 1024}\n":   "fdb.capacity",
	} {
		write(text)
		if _, err := r.Reload(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
		r.has(0, 0)
	}
	text := "vlan_aware: true\nports: [{name: a, access: 10, mtu: 1400}]\n"
	write(text)
	if changes, err := r.Reload(); err != nil || len(changes) != 3 {
		t.Errorf("%v, %v", changes, err)
	}
	r.has(1400, 1400)
	data, _ := os.ReadFile(r.path)
	if kept, err := config.ParseKept("", data); err != nil || kept.Startup != config.Sum([]byte(text)) {
		t.Errorf("kept for startup file %s, %v", kept.Startup, err)
	}
}

func TestClosedRunningKeepsWhatItHas(t *testing.T) {
	r := newKeptRig(t)
	r.Close()
	wantCode(t, r.Change(func() error { t.Error("it was begun"); return nil }), CodeFailed, "ending")
	if err := r.sw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Keep(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(r.path); err != nil || !strings.Contains(string(data), "name: b") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestConfigurationRequests(t *testing.T) {
	r := newRig(t)
	c, err := r.Running(t.Context())
	if err != nil || len(c.Ports) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	_, err = r.Startup(t.Context())
	wantCode(t, err, CodeConflict, "no startup file", "--config")
	wantCode(t, r.Save(t.Context()), CodeConflict, "no startup file")
	wantCode(t, r.Confirm(t.Context()), CodeConflict, "on trial")
	yaml := "vlan_aware: true\nports:\n- {name: a, access: 20}\n"
	if code, answer := r.ask(http.MethodPost, "/v1/config/apply?confirm=3600", yaml); code != http.StatusOK || !strings.Contains(answer, `"confirm":3600`) || !strings.Contains(answer, "- ports[b].name: b") {
		t.Errorf("%d %s", code, answer)
	}
	if err := r.Confirm(t.Context()); err != nil {
		t.Error(err)
	}
	if c, err = r.Running(t.Context()); err != nil || len(c.Ports) != 1 || c.Ports[0].Access != 20 {
		t.Errorf("%+v, %v", c, err)
	}
	if a, err := r.Apply(t.Context(), c, 0); err != nil || len(a.Changes) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	for path, body := range map[string]string{
		"/v1/config/apply?confirm=0": yaml, "/v1/config/apply?confirm=x": yaml, "/v1/config/apply": "ports: x",
	} {
		if code, answer := r.ask(http.MethodPost, path, body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, code, answer)
		}
	}
	if code, answer := r.ask(http.MethodGet, "/v1/config?startup=2", ""); code != http.StatusBadRequest {
		t.Errorf("%d %s", code, answer)
	}
}

func TestConfigurationsThatAreNotAppliedAreCounted(t *testing.T) {
	r := newKeptRig(t)
	other := r.with(1400)
	other.Metrics.Listen = "none"
	if _, err := r.Apply(r.with(1400), 0); err != nil || r.sw.Unapplied() != 0 {
		t.Errorf("applied: %v, %d counted", err, r.sw.Unapplied())
	}
	if _, err := r.Apply(other, 0); err == nil || r.sw.Unapplied() != 1 {
		t.Errorf("refused: %v, %d counted, want 1", err, r.sw.Unapplied())
	}
	if err := os.WriteFile(r.file, []byte("ports: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reload(); err == nil || r.sw.Unapplied() != 2 {
		t.Errorf("reload: %v, %d counted, want 2", err, r.sw.Unapplied())
	}
}
