// Package priority settles how much of the CPUs the process takes. By itself it
// runs on half of them: the other half is for those who send and receive, and a
// thread that is awake already takes the next frame sooner than one that has to
// be woken. But a machine may have hundreds of processes that send through it, and
// then fair shares of the CPU are not fair to those who wait for their frames.
// High priority at all times would preempt the senders in the middle of their
// bursts, which costs more than it gains: so only while its threads wait for a CPU
// much longer than they run, or many goroutines for a thread, the process has all CPUs
// and the highest priority.
package priority

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// period is the time between two looks.
	period = 100 * time.Millisecond
	// busy is the CPU time in a period from which a look at the threads is worth
	// while: a process that does nothing is not starved.
	busy = period / 10
	// starved is how many times longer the threads wait than they run.
	starved = 2
	// queued is how many goroutines wait for each one that may run in a process that
	// starves. Of the workers of two ports it is one or two.
	queued = 4

	raised  = -20         // setpriority(2)
	ceiling = 20 - raised // of RLIMIT_NICE, getrlimit(2)

	// How long the priority stays raised before it is tried without: doubled each
	// time that the process starves again at once.
	minRaise = time.Second
	maxRaise = 16 * time.Second
)

// cpus is on how many the process runs. All of them take part while it starves, and
// while it is busy with something else than frames, or else these would wait.
var cpus struct {
	mu      sync.Mutex
	all     int
	few     int // 0 before Half
	starved bool
	busy    int
}

// settle changes what f changes, and what follows. It stops all goroutines for some
// ten microseconds.
func settle(f func()) {
	cpus.mu.Lock()
	defer cpus.mu.Unlock()
	f()
	want := cpus.few
	if cpus.starved || cpus.busy > 0 {
		want = cpus.all
	}
	if want > 0 && want != runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(want)
	}
}

// Half has the process run on half of the CPUs that it may use, unless the
// environment variable GOMAXPROCS says on how many.
func Half() {
	settle(func() {
		cpus.all = runtime.GOMAXPROCS(0) // That knows of affinity and of the limits of a cgroup.
		cpus.few = cpus.all
		if os.Getenv("GOMAXPROCS") == "" {
			cpus.few = max(1, cpus.all/2)
		}
	})
}

// Busy says that something else than frames is being worked on, until done is
// called.
func Busy() (done func()) {
	settle(func() { cpus.busy++ })
	return func() { settle(func() { cpus.busy-- }) }
}

// Allow makes it possible to raise the priority from now on. With CAP_SYS_RESOURCE
// that is so also for a process that gives its capabilities away; else it needs
// CAP_SYS_NICE, and to keep it.
func Allow() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NICE, &limit); err != nil {
		return fmt.Errorf("read RLIMIT_NICE: %w", err)
	}
	if limit.Cur >= ceiling {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: ceiling, Max: max(limit.Max, ceiling)}); err != nil {
		return tryRaise()
	}
	return nil
}

// tryRaise raises the priority of one thread for a moment.
func tryRaise() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, raised)
	}
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-nice)
	}
	if err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	return nil
}

// Set gives all threads of the process the priority nice, -20 (first) to 19.
func Set(nice int) error {
	if err := setAll(nice); err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	return nil
}

// Keep gives the process all CPUs while it starves, and if raise says so, which needs Allow, the highest priority. It returns when ctx ends,
// with all as it was.
func Keep(ctx context.Context, raise bool, log *slog.Logger) {
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		log.Error("scheduling priority unknown", "err", err)
		return
	}
	normal := 20 - nice                   // The system call returns 20 - nice.
	defer func() { _ = setAll(normal) }() // The process is about to end anyway.
	defer settle(func() { cpus.starved = false })
	k := newKeeper()
	tick := time.NewTicker(period)
	defer tick.Stop()
	var cpu, run, wait time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used := cpuTime()
		worked := used - cpu
		cpu = used
		if !k.raised && worked < busy {
			continue
		}
		r, w := threads()
		change := k.look(r-run, w-wait, queue())
		run, wait = r, w
		if !change {
			continue
		}
		to := normal
		if k.raised {
			to = raised
		}
		settle(func() { cpus.starved = k.raised })
		if !raise {
			continue
		}
		log.Debug("scheduling priority", "nice", to)
		if err := setAll(to); err != nil {
			log.Error("scheduling priority not changed", "nice", to, "err", err)
			raise = false // All CPUs help as well.
		}
	}
}

// keeper decides.
type keeper struct {
	raised bool
	since  time.Duration // in this state
	pause  time.Duration // how long to stay raised
}

// newKeeper begins as after a long rest.
func newKeeper() keeper { return keeper{pause: minRaise, since: maxRaise} }

// look takes how long the threads have run and waited since the last look, and how
// many goroutines wait for each one that may run. It reports whether the priority is
// to be changed to what raised says now.
func (k *keeper) look(run, wait time.Duration, queue int) (change bool) {
	k.since += period
	if k.raised {
		if k.since < k.pause {
			return false
		}
		k.raised, k.since = false, 0
		return true
	}
	if wait <= starved*run && queue < queued {
		if k.since > k.pause {
			k.pause = minRaise
		}
		return false
	}
	if k.since <= 3*period {
		k.pause = min(2*k.pause, maxRaise)
	}
	k.raised, k.since = true, 0
	return true
}

// cpuTime returns the CPU time that the process has used.
func cpuTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// threads returns how long the threads of the process have run, and how long they
// were ready and had to wait (Documentation/scheduler/sched-stats.rst). Those that
// have ended are not in it.
func threads() (run, wait time.Duration) {
	eachThread(func(tid int) {
		b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(tid) + "/schedstat")
		if err != nil {
			return
		}
		var r, w time.Duration
		if n, _ := fmt.Sscan(string(b), &r, &w); n == 2 {
			run, wait = run+r, wait+w
		}
	})
	return run, wait
}

// queue returns how many goroutines are ready to run for each that can.
func queue() int {
	ready := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(ready)
	if ready[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int(ready[0].Value.Uint64()) / runtime.GOMAXPROCS(0)
}

// setAll looks again until all threads have it: one that a thread not yet seen has
// cloned meanwhile has what that had.
func setAll(nice int) (err error) {
	for again := true; again && err == nil; {
		again = false
		eachThread(func(tid int) {
			const highest = 20 // The system call returns this less the priority.
			if have, e := unix.Getpriority(unix.PRIO_PROCESS, tid); e != nil || have == highest-nice {
				return // It has ended, or is as it should be.
			}
			again = true
			if e := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); e != nil && e != unix.ESRCH {
				err = e
			}
		})
	}
	return err
}

func eachThread(f func(tid int)) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			f(tid)
		}
	}
}
