// Check says whether the tests on TAPs can run here, and if not, what is
// missing. `go test` would hide it behind "ok".
package main

import (
	"fmt"
	"os"

	"github.com/vswitchd/vswitchd/internal/netns"
)

func main() {
	if err := netns.Check(); err != nil {
		fmt.Fprintf(os.Stderr, "The tests on TAPs will be skipped: %v\n", err)
	}
}
