package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is USER_HZ, the unit of /proc/stat and /proc/PID/stat.
const tick = 10 * time.Millisecond

// pfKthread is PF_KTHREAD of include/linux/sched.h, in the flags of /proc/PID/stat.
const pfKthread = 0x00200000

// usage is CPU time since the boot, of all CPUs together.
type usage struct {
	machine  time.Duration // busy with anything
	stolen   time.Duration // by the hypervisor
	switches time.Duration // processes of the switch in question
	outside  time.Duration // processes that the benchmark did not start
}

func (u usage) sub(v usage) usage {
	return usage{u.machine - v.machine, u.stolen - v.stolen, u.switches - v.switches, u.outside - v.outside}
}

// census reads the usage. switches are the processes of the switch that is
// being measured, ours all that the benchmark has started.
func census(switches, ours []int) (u usage, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	u.machine, u.stolen = parseStat(string(stat))
	role := map[int]*time.Duration{os.Getpid(): nil}
	for _, pid := range ours {
		role[pid] = nil
	}
	for _, pid := range switches {
		role[pid] = &u.switches
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return u, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		of, known := role[pid]
		if !known {
			of = &u.outside
		}
		if of != nil {
			*of += processTime(pid)
		}
	}
	return u, nil
}

// parseStat takes what is busy and what is stolen from the first line of
// /proc/stat (proc(5)). Guest time is part of user time.
func parseStat(text string) (busy, stolen time.Duration) {
	line, _, _ := strings.Cut(text, "\n")
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			continue
		}
		switch d := time.Duration(n) * tick; i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq
			busy += d
		case 8:
			busy += d
			stolen = d
		}
	}
	return busy, stolen
}

// processTime is the CPU time of a process and of its children that have ended:
// summed over all processes it only grows, however short-lived they are. It is
// 0 for threads of the kernel, which work for whoever made them work.
func processTime(pid int) time.Duration {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0 // It has just ended, and its parent inherits the time.
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // The name before may hold anything.
	if len(f) < 15 {
		return 0
	}
	if flags, err := strconv.ParseUint(f[6], 10, 64); err != nil || flags&pfKthread != 0 {
		return 0
	}
	ticks := uint64(0)
	for _, s := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// awaitQuiet returns once the machine is less than a tenth busy, at the latest
// after the time given.
func awaitQuiet(ctx context.Context, atMost time.Duration) error {
	const look = 100 * time.Millisecond
	for end := time.Now().Add(atMost); time.Now().Before(end); {
		if ctx.Err() != nil {
			return errInterrupted
		}
		before, err := census(nil, nil)
		if err != nil {
			return err
		}
		start := time.Now()
		time.Sleep(look)
		after, err := census(nil, nil)
		if err != nil {
			return err
		}
		if share(after.sub(before).machine, time.Since(start)) < 0.1 {
			return nil
		}
	}
	return nil
}

// share is the part of the machine that the CPU time is, in a time of the clock.
func share(cpu, clock time.Duration) float64 {
	return cpu.Seconds() / clock.Seconds() / float64(runtime.NumCPU())
}

// describeMachine says on what the figures were measured, in a line.
func describeMachine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	release := "unknown"
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release = strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("%d CPUs (%s), Linux %s, %s", runtime.NumCPU(), model, release, runtime.Version())
}
