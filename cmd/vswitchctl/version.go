package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/internal/version"
)

func newVersion(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "version",
		Short: "Show the version of vswitchctl; the daemon's is in its status",
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
			}{version.String(), version.Revision()}
			return o.print(c, []any{v}, func(w io.Writer) { fmt.Fprintln(w, "vswitchctl", v.Version) })
		},
	}, 0, 0)
}
