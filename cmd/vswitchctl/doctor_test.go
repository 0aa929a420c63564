package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/doctor"
)

func TestDoctorWritesTheFixBelowTheCheck(t *testing.T) {
	var out bytes.Buffer
	writeResults(&out, []doctor.Result{
		{Check: "a device", Status: doctor.OK, Found: "opens"},
		{Check: "socket", Status: doctor.Fail, Found: "closed", Fix: "open it"},
	})
	if want := "ok    a device  opens\nfail  socket    closed\n      fix: open it\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// What else there is to find depends on the machine.
func TestDoctorFailsIfACheckDoes(t *testing.T) {
	answers := samples()
	for _, answer := range []any{answers["GET /v1/status"], control.Error{Code: control.CodeFailed, Message: "broken", Fix: "mend it"}} {
		answers["GET /v1/status"] = answer
		code, out, errOut := newDaemon(t, answers).ctl(t, "doctor", "-o", "json")
		var results []doctor.Result
		if err := json.Unmarshal([]byte(out), &results); err != nil || errOut != "" {
			t.Fatalf("%v: %s%s", err, out, errOut)
		}
		fails := slices.ContainsFunc(results, func(r doctor.Result) bool { return r.Status == doctor.Fail })
		if (code == exitFailed) != fails || (code == exitOK) == fails {
			t.Errorf("exit %d: %s", code, out)
		}
		_, broken := answer.(control.Error)
		want := `"vswitchd answers, pid 4711"`
		if broken {
			want = `"fix": "mend it"`
		}
		if !strings.Contains(out, want) || broken && !fails {
			t.Errorf("no %s: %s", want, out)
		}
	}
}

func TestDoctorTakesAnAbsentDaemonAsAWarning(t *testing.T) {
	d := &daemon{socket: t.TempDir() + "/none"}
	if _, out, _ := d.ctl(t, "doctor"); !strings.Contains(out, "\nwarn  control socket ") || !strings.Contains(out, "\n      fix: is vswitchd running?") {
		t.Error(out)
	}
}
