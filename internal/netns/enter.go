package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Enter replaces this process by a program in the network namespace that the
// process or thread pid is in, and in its user namespace if that is another. A
// program of several threads cannot enter a user namespace (setns(2)), so that it
// goes by nsenter(1). It returns only if that fails.
func Enter(pid string, argv, env []string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return errors.New("there is no nsenter, which is needed to enter a namespace; install util-linux")
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return fmt.Errorf("find the own user namespace: %w", err)
	}
	its, err := os.Readlink("/proc/" + pid + "/ns/user")
	if err != nil {
		return fmt.Errorf("find the user namespace of process %s: %w", pid, err)
	}
	args := []string{"nsenter", "--net=/proc/" + pid + "/ns/net"}
	if its != own {
		args = append(args, "--user=/proc/"+pid+"/ns/user", "--preserve-credentials")
	}
	args = append(append(args, "--"), argv...)
	return fmt.Errorf("run nsenter: %w", unix.Exec(nsenter, args, env))
}
