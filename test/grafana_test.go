package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/metrics"
)

// panel is what the tests read of a panel or a row.
type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ UID string }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr, LegendFormat string }
}

func dashboard(t *testing.T) (panels []panel, variables []string) {
	t.Helper()
	var d struct {
		UID        string
		Panels     []panel
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/vswitchd.json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "" {
		t.Errorf("the dashboard has the uid %q, which may be another's where it is imported", d.UID)
	}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Definition)
	}
	return d.Panels, variables
}

func TestDashboardPanelsAreCompleteAndApart(t *testing.T) {
	panels, _ := dashboard(t)
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q: the id %d is not its own", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Title == "" || p.Description == "" {
			t.Errorf("panel %d has the title %q and the description %q", p.ID, p.Title, p.Description)
		}
		if p.Type != "row" && (p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
			t.Errorf("panel %q: unit %q, data source %q, %d queries", p.Title, p.FieldConfig.Defaults.Unit, p.Datasource.UID, len(p.Targets))
		}
		at := p.GridPos
		if at.X+at.W > 24 {
			t.Errorf("panel %q reaches column %d of 24", p.Title, at.X+at.W)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// fromPrometheus are the labels that scraping adds.
var fromPrometheus = []string{"instance", "job"}

func TestDashboardNamesMetricsAndLabelsThatExist(t *testing.T) {
	labels := map[string][]string{"process_cpu_seconds_total": nil, "process_resident_memory_bytes": nil}
	for _, m := range metrics.All() {
		labels[m.Name] = m.Labels
	}
	panels, texts := dashboard(t)
	for _, p := range panels {
		for _, q := range p.Targets {
			texts = append(texts, q.Expr+legend(q.LegendFormat))
		}
	}
	metric := regexp.MustCompile(`\b(?:vswitch|process)_\w+(?:\{[^}]*\})?`)
	matcher := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	shown := regexp.MustCompile(`(?:by \(|label_values\([^)]*, |legend )([\w, ]+)`)
	for _, text := range texts {
		has := slices.Clone(fromPrometheus)
		for _, m := range metric.FindAllString(text, -1) {
			name, selector, _ := strings.Cut(m, "{")
			of, ok := labels[name]
			if !ok {
				t.Errorf("%s: %s is no metric", text, name)
			}
			has = append(has, of...)
			for _, l := range matcher.FindAllStringSubmatch(selector, -1) {
				if !slices.Contains(append(slices.Clone(fromPrometheus), of...), l[1]) {
					t.Errorf("%s: %s has no label %s", text, name, l[1])
				}
			}
		}
		for _, m := range shown.FindAllStringSubmatch(text, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				if l = strings.TrimSpace(l); !slices.Contains(has, l) {
					t.Errorf("%s: no label %q", text, l)
				}
			}
		}
	}
}

// legend returns the labels that a legend shows, as the end of a query's text.
func legend(format string) (text string) {
	for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(format, -1) {
		text += " legend " + m[1] + ";"
	}
	return text
}

// TestDashboardQueriesAreRead has promtool read each query as the expression of
// a recording rule, with what Grafana fills in.
func TestDashboardQueriesAreRead(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (.ci/run deploy fetches it)")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	panels, _ := dashboard(t)
	fill := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".+", "$port", ".+", "$job", ".+")
	for _, p := range panels {
		for i, q := range p.Targets {
			fmt.Fprintf(&rules, "      - {record: 'panel:%d:%d', expr: '%s'}\n", p.ID, i, fill.Replace(q.Expr))
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
