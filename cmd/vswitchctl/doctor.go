package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/internal/doctor"
)

// A daemon that takes longer to answer is one of the things that doctor is to
// tell of.
const doctorTimeout = 5 * time.Second

func newDoctor(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "doctor",
		Short: "Check whether vswitchd can run here, and say what to do if not",
		Long: "Check whether vswitchd can run here, and say what to do if not. Nothing is changed.\n" +
			"It looks at what the user who runs it may do, and at the vswitchd that runs, if any.\n" +
			"The exit code is 1 if a check fails; warnings leave it 0.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), doctorTimeout)
			defer cancel()
			results := doctor.New(o.client(), fixOf).Run(ctx)
			if err := c.Context().Err(); err != nil {
				return err // Interrupted: what the daemon did not answer says nothing.
			}
			if err := o.print(c, results, func(w io.Writer) { writeResults(w, results) }); err != nil {
				return err
			}
			if slices.ContainsFunc(results, func(r doctor.Result) bool { return r.Status == doctor.Fail }) {
				return exited(exitFailed)
			}
			return nil
		},
	}, 0, 0)
}

// writeResults does not leave the columns to the tabwriter, which would end
// them at each fix.
func writeResults(w io.Writer, results []doctor.Result) {
	width := 0
	for _, r := range results {
		width = max(width, len(r.Check))
	}
	for _, r := range results {
		fmt.Fprintf(w, "%-4s  %-*s  %s\n", r.Status, width, r.Check, r.Found)
		if r.Fix != "" {
			fmt.Fprintf(w, "      fix: %s\n", r.Fix)
		}
	}
}
