package main

import (
	"context"
	"log/slog"

	"github.com/vswitchd/vswitchd/internal/priority"
)

// keepPriority gives the process the priority nice, or else raises it whenever
// the process starves, and lets it have all CPUs meanwhile, until ctx ends. A
// machine that does not allow that has a switch all the same. The caller calls wait
// at the end.
func keepPriority(ctx context.Context, nice *int, log *slog.Logger) (wait func()) {
	raise := nice == nil
	switch {
	case nice != nil:
		if err := priority.Set(*nice); err != nil {
			log.Warn("scheduling priority not set", "nice", *nice, "err", err)
		}
	default:
		if err := priority.Allow(); err != nil {
			log.Info("scheduling priority is fixed: it cannot be raised while the daemon starves", "err", err)
			raise = false
		}
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		priority.Keep(ctx, raise, log)
	}()
	return func() {
		stop()
		<-done
	}
}
