package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/vswitchd/vswitchd/config"
)

// ofThePlugin are the keys of a port that differ between containers, or do not go
// with them.
var ofThePlugin = []string{
	"name", "description", "kind", "listen", "dial", "ifname", "netns", "mac", "up", "ip", "gateway",
	"persistent", "ephemeral", "adopt", "owner", "group",
}

var byteOffset = regexp.MustCompile(` \((?:after|before) byte \d+\)`)

// portOf makes the port that keys of a network describe, for no container yet.
func portOf(keys map[string]json.RawMessage) (config.Port, error) {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if slices.Contains(ofThePlugin, key) {
			return config.Port{}, fmt.Errorf("%s: each port has its own, from its container; leave it out", key)
		}
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return config.Port{}, err
	}
	p, err := config.DecodePort(text)
	if err != nil {
		err = errors.New(byteOffset.ReplaceAllString(err.Error(), ""))
	}
	return p, err
}
