// Package version knows which build of vswitchd this is.
package version

import "runtime/debug"

// version is set at link time by a release:
// -ldflags "-X github.com/vswitchd/vswitchd/internal/version.version=v1.2.3".
var version string

// String returns the release, else what the go command recorded of the source
// tree, else "devel".
func String() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}

// Revision returns the commit that was built, or the empty string.
func Revision() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
