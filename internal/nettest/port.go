package nettest

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/vswitchd/vswitchd/config"
)

// Port returns the TAP port p with the keys of the environment variable
// VSWITCH_TEST_PORT that p itself leaves open: the port object of the control API,
// such as {"offload": false, "coalesce": false}. Rigs whose tests hold whatever
// those are pass each port through it, so that one run of the tests has them all.
func Port(t testing.TB, p config.Port) config.Port {
	t.Helper()
	keys := os.Getenv("VSWITCH_TEST_PORT")
	if keys == "" || p.Kind != "" && p.Kind != config.KindTAP {
		return p
	}
	own, err := json.Marshal(p)
	var merged config.Port
	if err = errors.Join(err, json.Unmarshal([]byte(keys), &merged), json.Unmarshal(own, &merged)); err != nil {
		t.Fatalf("VSWITCH_TEST_PORT=%s: %v", keys, err)
	}
	return merged
}
