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
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/page"
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

// serveMetrics begins to serve the metrics of sw as c says, and the page, which
// names the startup file.
func serveMetrics(sw *vswitch.Switch, c config.Metrics, file string, log *slog.Logger) (*webListener, error) {
	if c.Listen == config.ListenNone {
		return &webListener{server: &http.Server{ReadHeaderTimeout: time.Second}}, nil
	}
	if c.Listen == "" {
		c.Listen = config.DefaultListen
	}
	if err := checkWeb(c); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; choose another address with --metrics-listen, or none", err)
	}
	mux, err := webPages(sw, c, l.Addr().String(), file)
	if err != nil {
		return nil, errors.Join(err, l.Close())
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

func webPages(sw *vswitch.Switch, c config.Metrics, address, file string) (*http.ServeMux, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewCollector(sw, metrics.Build{Version: version.String(), Revision: version.Revision(), GoVersion: runtime.Version()}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		defer priority.Busy()()
		scrape.ServeHTTP(w, r)
	})
	first, err := firstPage(sw, c, control.Daemon{Version: version.String(), Started: time.Now(), Metrics: address, Config: file})
	if err != nil {
		return nil, err
	}
	mux.Handle("GET /{$}", first)
	if c.ShowsPage() {
		mux.Handle("GET /page/", first)
	}
	// Nothing is served before all ports are there, so whoever gets an answer
	// gets this one.
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }
	mux.HandleFunc("GET /-/healthy", ok)
	mux.HandleFunc("GET /-/ready", ok)
	return mux, nil
}

// firstPage is the page of the switch, or one that names the metrics.
func firstPage(sw *vswitch.Switch, c config.Metrics, d control.Daemon) (http.Handler, error) {
	if c.ShowsPage() {
		return page.New(sw, control.NewViews(sw, d), priority.Busy), nil
	}
	return toolkit.NewLandingPage(toolkit.LandingConfig{
		Name: "vswitchd", Description: "A virtual Ethernet switch", Version: version.String(), Profiling: "false",
		Links: []toolkit.LandingLinks{{Address: "/metrics", Text: "Metrics"}},
	})
}
