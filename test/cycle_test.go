package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// holdings is what a daemon has taken of the machine.
type holdings struct {
	fds, goroutines int
	rss             int // KiB
}

func (r *rig) holdings() (h holdings, err error) {
	process := fmt.Sprintf("/proc/%d", r.cmd.Process.Pid)
	fds, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return h, err
	}
	h.fds = len(fds)
	status, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil {
		return h, err
	}
	s, err := r.Status(r.t.Context())
	if err != nil {
		return h, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Get("http://" + s.Metrics + "/metrics")
	if err != nil {
		return h, err
	}
	defer reply.Body.Close()
	metrics, err := io.ReadAll(reply.Body)
	if err != nil {
		return h, err
	}
	for text, want := range map[string]struct {
		key string
		to  *int
	}{string(status): {"VmRSS:", &h.rss}, string(metrics): {"go_goroutines ", &h.goroutines}} {
		_, value, _ := strings.Cut(text, "\n"+want.key)
		if _, err := fmt.Sscan(value, want.to); err != nil {
			return h, fmt.Errorf("%s: %w", want.key, err)
		}
	}
	return h, nil
}

// cycle adds a port, has it send and takes it away, n times among all callers.
func (r *rig) cycle(farm lab.Host, left *atomic.Int64) error {
	for i := byte(0); left.Add(-1) >= 0; i++ {
		if _, err := r.AddPort(r.t.Context(), nettest.Port(r.t, config.Port{Name: farm.Name, Netns: farm.NS.PID()})); err != nil {
			return err
		}
		if err := farm.Send(numbered(frame.Broadcast, frame.MAC{2, 0xc0, farm.Name[1], i}, 0)); err != nil {
			return err
		}
		if _, err := r.RemovePort(r.t.Context(), farm.Name); err != nil {
			return err
		}
	}
	return nil
}

// cycles brings n ports and takes them away, some at a time.
func (r *rig) cycles(n int) {
	r.t.Helper()
	ns, work := nettest.New(r.t), newCrew(r.t)
	left := new(atomic.Int64)
	left.Store(int64(n))
	for i := range 8 {
		name := fmt.Sprintf("p%d", i)
		work.start("come and go", func() error { return r.cycle(lab.Host{Name: name, NS: ns, Interface: name}, left) })
	}
	work.wg.Wait()
}

func testPortsComeAndGo(t *testing.T) {
	const growth = 8 << 10 // KiB
	r := newRig(t)
	settled := func() (h holdings) {
		t.Helper()
		eventually(t, func() (err error) {
			h, err = r.holdings()
			return err
		})
		return h
	}
	var before holdings
	r.undisturbed(func() {
		// What is made at first use is not a leak.
		first := min(1000, *soakCycles/2)
		r.cycles(first)
		time.Sleep(100 * time.Millisecond) // Connections that are just being closed.
		before = settled()
		began := time.Now()
		r.cycles(*soakCycles - first)
		t.Logf("soak: %d cycles in %v", *soakCycles-first, time.Since(began).Round(time.Second))
	})
	var after holdings
	eventually(t, func() error {
		after = settled()
		if after.fds > before.fds || after.goroutines > before.goroutines {
			return fmt.Errorf("%+v, before ports came and went %+v", after, before)
		}
		return nil
	})
	t.Logf("soak: before %+v, after %+v", before, after)
	if after.rss-before.rss > growth {
		t.Errorf("grown by %d KiB, want at most %d", after.rss-before.rss, growth)
	}
	r.aftermath()
}
