package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func TestSystemdIsToldAndItsWatchdogFed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	sw, err := vswitch.New(&config.Config{VLANAware: new(bool)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sw.Close()

	tellReady(t.Context(), sw, slog.New(slog.DiscardHandler))
	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		n, err := manager.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("systemd was told %q, %v; want %q", buf[:n], err, want)
		}
	}
}
