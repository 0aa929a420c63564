package main

import (
	"context"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	vswitch "github.com/vswitchd/vswitchd/switch"
)

// tellReady tells systemd that the daemon is ready, and until ctx ends, if the
// unit has a watchdog, that its workers are well. Without systemd it does
// nothing. Errors are logged only: a daemon that works is worth more than a
// service manager that knows.
func tellReady(ctx context.Context, sw *vswitch.Switch, log *slog.Logger) {
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		log.Warn("systemd cannot be told that the daemon is ready", "err", err)
	}
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's interval makes no sense", "err", err)
	}
	if interval > 0 {
		go watchdog(ctx, interval/2, sw, log)
	}
}

// watchdog speaks up for as long as every worker gets on. One that is stuck in
// a batch ends that, and systemd then ends the process.
func watchdog(ctx context.Context, every time.Duration, sw *vswitch.Switch, log *slog.Logger) {
	beat := time.NewTicker(every)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		if stalled := sw.Stalled(); len(stalled) > 0 {
			log.Error("workers are stuck", "ports", stalled)
			continue
		}
		if _, err := systemd.SdNotify(false, systemd.SdNotifyWatchdog); err != nil {
			log.Warn("systemd's watchdog cannot be told", "err", err)
		}
	}
}

// tellStopping tells systemd that the daemon is about to end.
func tellStopping() { _, _ = systemd.SdNotify(false, systemd.SdNotifyStopping) }
