package main

import (
	"bytes"
	"net/netip"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/lab"
)

func TestLabIsShownWithWhatGoesWrong(t *testing.T) {
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	past, later := now.Add(-time.Second), now.Add(90*time.Second)
	s := &lab.State{Socket: "/run/vswitchd-lab/lab/control.sock", Hosts: []lab.HostState{
		{Name: "web", PID: "100", Ifname: "eth0", IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")}},
		{Name: "far", PID: "101", Ifname: "up0", Impair: &lab.ImpairState{
			Impair: config.Impair{Loss: 0.5, Delay: config.Duration(20 * time.Millisecond), Jitter: config.Duration(time.Millisecond), Seed: 7},
			Ends:   &later, Receive: lab.WireStats{Frames: 10, Lost: 1}, Transmit: lab.WireStats{Frames: 20, QueueFull: 2},
		}},
		{Name: "once", PID: "102", Ifname: "eth0", Impair: &lab.ImpairState{Impair: config.Impair{Duplicate: 1, Corrupt: 100}, Ends: &past}},
	}}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	writeLab(w, s, now)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/lab-show.table", b.String())
}
