package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/version"
)

// newMan is for those who build packages. The date in the pages is that of
// $SOURCE_DATE_EPOCH.
func newMan() *cobra.Command {
	return takes(&cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages of vswitchctl, one for each command, into a directory",
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			root.DisableAutoGenTag = true
			if completion, _, err := root.Find([]string{"completion"}); err == nil {
				completion.Hidden = true // A package has made its scripts.
			}
			// Of whoever reads the page, not of the user who builds it.
			root.PersistentFlags().Lookup("socket").DefValue = control.RootSocket
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // Manual pages are for everybody.
				return err
			}
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "vswitchd " + version.String(), Manual: "vswitchd"}, args[0])
		},
	}, 1, 1)
}
