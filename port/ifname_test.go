package port

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestCheckIfname(t *testing.T) {
	for _, good := range []string{"a", "eth0", "vsw-a_b.1", "exactly15bytes."} {
		if err := CheckIfname(good); err != nil {
			t.Error(err)
		}
	}
	for bad, why := range map[string]string{
		"":                 "is empty",
		"sixteen-bytes-xx": "16 bytes",
		".":                "directory",
		"..":               "directory",
		"all":              "/proc/sys",
		"default":          "/proc/sys",
		"a/b":              "'/'",
		"a:1":              "':'",
		"vsw%d":            "'%'",
		"a b":              "whitespace",
		"a\n":              "whitespace",
		"a\x00":            "not printable",
		"ä":                "not printable",
		"a\x7f":            "not printable",
	} {
		refused(t, CheckIfname(bad), os.ErrInvalid, why, "choose")
	}
}

// What the kernel refuses must be refused by CheckIfname with a reason.
func TestCheckIfnameIsNotWiderThanTheKernel(t *testing.T) {
	nettest.Need(t)
	for c := range 256 {
		name := "x" + string([]byte{byte(c)}) + "y"
		if CheckIfname(name) != nil {
			continue
		}
		fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := setIff(fd, name, unix.IFF_TAP|unix.IFF_NO_PI); err != nil {
			t.Errorf("%q: CheckIfname takes it, the kernel says %v", name, err)
		}
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}
