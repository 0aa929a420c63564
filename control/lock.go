package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockPause = 20 * time.Millisecond
	// A daemon that was killed is seen to be at its end only once its threads
	// have run, so that the first looks may be too early.
	lockLooks = 10
	// The kernel ends the lock with the process, after some 20 ms for each TAP:
	// 1,024 ports take half of this.
	lockTries = 2000
	// PF_EXITING (linux/sched.h) of the flags in /proc/PID/stat.
	exitingFlag = 0x4
)

// lock locks f. If a daemon that is just ending, because it was killed, still
// has the lock, it waits for the end.
func lock(f *os.File) error {
	for try, looks := 0, 0; ; try++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		text, _ := io.ReadAll(io.NewSectionReader(f, 0, 20)) // The message does without it.
		pid := strings.TrimSpace(string(text))
		if !ending(pid) {
			looks++
		}
		if looks == lockLooks || try == lockTries {
			return fmt.Errorf("it is served by another vswitchd, pid %s; stop that one, or choose another path with --socket", pid)
		}
		time.Sleep(lockPause)
	}
}

// ending tells whether the process is being taken down by the kernel.
func ending(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	// The name in parentheses may have any characters; flags is the seventh
	// value after it (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 32)
	return err == nil && flags&exitingFlag != 0
}
