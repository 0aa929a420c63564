package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/internal/bridge"
)

func newConfigImport(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "import BRIDGE",
		Short: "Write a Linux bridge as a configuration file, without a daemon",
		Long: "Write a Linux bridge as a configuration file, without a daemon. Nothing is changed.\n" +
			"What has no equivalent is said in comments; ports that cannot be taken over as they are, are commented out.\n" +
			"For a bridge in another network namespace: ip netns exec NAME vswitchctl config import BRIDGE",
		RunE: func(c *cobra.Command, args []string) error {
			i, err := bridge.Read(args[0])
			if errors.Is(err, bridge.ErrNotBridge) {
				return &usageError{err.Error(), "name one of: ip -br link show type bridge"}
			}
			if err != nil {
				return err
			}
			text, err := i.YAML()
			if err != nil {
				return err
			}
			// The output is likely to go into a file, unseen.
			fmt.Fprintf(c.ErrOrStderr(), "%d ports, %d left out, %d comments on what is different\n", len(i.Config.Ports), len(i.LeftOut.Ports), len(i.Notes))
			return o.print(c, i, func(w io.Writer) { _, _ = w.Write(text) })
		},
	}, 1, 1)
}
