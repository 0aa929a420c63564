package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/priority"
	"github.com/vswitchd/vswitchd/internal/version"
	"github.com/vswitchd/vswitchd/metrics"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// webListener serves the metrics.
type webListener struct {
	address string // empty if there is none
	server  *http.Server
}

// serveMetrics begins to serve the metrics of sw as c says.
func serveMetrics(sw *vswitch.Switch, c config.Metrics, log *slog.Logger) (*webListener, error) {
	if c.Listen == config.ListenNone {
		return &webListener{server: &http.Server{ReadHeaderTimeout: time.Second}}, nil
	}
	if c.Listen == "" {
		c.Listen = config.DefaultListen
	}
	if err := checkWeb(c); err != nil {
		return nil, err
	}
	mux, err := webPages(sw)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; choose another address with --metrics-listen, or none", err)
	}
	w := &webListener{address: l.Addr().String(), server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		quiet := slog.New(slog.DiscardHandler) // The ready line has all that it would say.
		err := toolkit.Serve(l, w.server, &toolkit.FlagConfig{WebConfigFile: &c.WebConfig}, quiet)
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "address", w.address, "err", err)
		}
	}()
	return w, nil
}

// checkWeb reads the file with TLS and users, if there is one to be used.
func checkWeb(c config.Metrics) error {
	if c.Listen == config.ListenNone {
		return nil
	}
	if err := toolkit.Validate(c.WebConfig); err != nil {
		return fmt.Errorf("metrics: web_config %s: %w; mend that file, or leave web_config out", c.WebConfig, err)
	}
	return nil
}

func (w *webListener) close() { _ = w.server.Close() } // Scrapes under way may fail.

func webPages(sw *vswitch.Switch) (*http.ServeMux, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewCollector(sw, metrics.Build{Version: version.String(), Revision: version.Revision(), GoVersion: runtime.Version()}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	landing, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name: "vswitchd", Description: "A virtual Ethernet switch", Version: version.String(), Profiling: "false",
		Links: []toolkit.LandingLinks{{Address: "/metrics", Text: "Metrics"}},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		defer priority.Busy()()
		scrape.ServeHTTP(w, r)
	})
	mux.Handle("GET /{$}", landing)
	// Nothing is served before all ports are there, so whoever gets an answer
	// gets this one.
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }
	mux.HandleFunc("GET /-/healthy", ok)
	mux.HandleFunc("GET /-/ready", ok)
	return mux, nil
}
