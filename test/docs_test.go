package test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/metrics"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/operations.md that come from the code")

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the cells of the table under the header line, or of all tables
// if it is empty.
func rows(doc, header string) (cells [][]string) {
	_, after, ok := strings.Cut(doc, header+"\n")
	if !ok {
		return nil
	}
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), " | ") {
			row = append(row, strings.TrimSpace(cell))
		}
		cells = append(cells, row)
	}
	return cells
}

func TestClauseTableNamesFilesAndTestsThatExist(t *testing.T) {
	table := rows(read(t, "docs/design.md"), "| clause | rule | file | test |")
	if len(table) < 10 {
		t.Fatalf("the table has %d rows", len(table))
	}
	for _, row := range table {
		read(t, row[2])
		file, name, _ := strings.Cut(row[3], " ")
		if !strings.Contains(read(t, file), "func "+name+"(") {
			t.Errorf("clause %s: %s has no %s", row[0], file, name)
		}
	}
}

func TestJourneyTableNamesFunctionsThatExist(t *testing.T) {
	table := rows(read(t, "docs/design.md"), "| step | file | function |")
	if len(table) < 10 {
		t.Fatalf("the table has %d rows", len(table))
	}
	for _, row := range table {
		source := read(t, row[1])
		for _, m := range regexp.MustCompile("`(?:\\((.*?)\\)\\.)?(\\w+)`").FindAllStringSubmatch(row[2], -1) {
			if !regexp.MustCompile(`(?m)^func (\(\w+ ` + regexp.QuoteMeta(m[1]) + `\) |\(.*\) )?` + m[2] + `\(`).MatchString(source) {
				t.Errorf("%s has no %s", row[1], m[0])
			}
		}
	}
}

// Each row says what was run, of which version, by a test that exists, or that
// nothing was. No file is named without its test.
func TestAttachTableNamesTestsThatExist(t *testing.T) {
	table := rows(read(t, "docs/attach.md"), "| kind | consumer | how it attaches | offload | run with |")
	if len(table) < 4 {
		t.Fatalf("the table has %d rows", len(table))
	}
	for _, row := range table {
		ran := row[len(row)-1]
		tests := regexp.MustCompile(`(\S+_test\.go)(?: ([Tt]est\w+))?`).FindAllStringSubmatch(ran, -1)
		if len(tests) == 0 && !strings.Contains(ran, "not run here") {
			t.Errorf("%s: %q names no test, and does not say: not run here", row[0], ran)
		}
		if len(tests) > 0 && !regexp.MustCompile(`[a-zA-Z]+ v?\d+\.\d+`).MatchString(ran) {
			t.Errorf("%s: %q names no version of what was run", row[0], ran)
		}
		for _, m := range tests {
			if m[2] == "" || !strings.Contains(read(t, m[1]), "func "+m[2]+"(") {
				t.Errorf("%s: %s has no test %q", row[0], m[1], m[2])
			}
		}
	}
}

func TestAttachPageTellsOfVMTestsThatExist(t *testing.T) {
	const header = "| test in test/vm | what it does for each kind |"
	table, source := rows(read(t, "docs/attach.md"), header), read(t, "test/vm/vm_test.go")+read(t, "test/vm/demo_test.go")
	if len(table) < 2 {
		t.Fatalf("the table has %d rows", len(table))
	}
	for _, row := range table {
		m := regexp.MustCompile("^`(Test\\w+)`").FindStringSubmatch(row[0])
		if row[0] != "the same" && (m == nil || !strings.Contains(source, "func "+m[1]+"(")) {
			t.Errorf("test/vm has no %s", row[0])
		}
	}
}

// generated compares the table under header with the lines that the code
// gives, or with -update replaces it.
func generated(t *testing.T, header string, want []string) {
	t.Helper()
	const path = "docs/operations.md"
	doc := read(t, path)
	before, after, ok := strings.Cut(doc, header+"\n")
	if !ok {
		t.Fatalf("%s has no table %s", path, header)
	}
	rule, after, _ := strings.Cut(after, "\n")
	rest := after
	for strings.HasPrefix(rest, "|") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	text := strings.Join(want, "\n") + "\n"
	if *update {
		err := os.WriteFile("../"+path, []byte(before+header+"\n"+rule+"\n"+text+rest), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := strings.TrimSuffix(after, rest); got != text {
		t.Errorf("%s: the table %s is not what the code says; run go test ./test -update", path, header)
	}
}

func TestDropReasonTableIsTheCodes(t *testing.T) {
	var want []string
	for r := frame.Keep + 1; r < frame.NumDropReasons; r++ {
		want = append(want, fmt.Sprintf("| `%v` | %v | %s |", r, r.Direction(), r.Text()))
	}
	generated(t, "| reason | direction | meaning |", want)
}

func TestMetricsTableIsTheCodes(t *testing.T) {
	var want []string
	for _, m := range metrics.All() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", m.Name, strings.Join(m.Labels, ", "), m.Help))
	}
	generated(t, "| metric | labels | meaning |", want)
}

func TestEventTableIsTheCodes(t *testing.T) {
	var want []string
	for k := range vswitch.NumEventKinds {
		want = append(want, fmt.Sprintf("| `%v` | `%v` | %s |", k.Type(), k, k.Text()))
	}
	generated(t, "| type | event | meaning |", want)
}

func TestAlertsNameMetricsThatExist(t *testing.T) {
	names := map[string]bool{}
	for _, m := range metrics.All() {
		names[m.Name] = true
	}
	for _, path := range []string{"deploy/prometheus/alerts.yaml", "deploy/prometheus/tests.yaml"} {
		for _, name := range regexp.MustCompile(`vswitch_\w+`).FindAllString(read(t, path), -1) {
			if !names[name] {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
	}
}

func TestEveryConfigurationKeyIsDocumented(t *testing.T) {
	doc := read(t, "docs/operations.md")
	check := func(header string, typ reflect.Type, prefix string) {
		keys := map[string]bool{}
		for _, row := range rows(doc, header) {
			for _, m := range regexp.MustCompile("`([a-z_.]+)`").FindAllStringSubmatch(row[0], -1) {
				keys[m[1]] = true
			}
		}
		for f := range typ.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Type.Kind() == reflect.Struct {
				for g := range f.Type.Fields() {
					inner, _, _ := strings.Cut(g.Tag.Get("json"), ",")
					if full := key + "." + inner; !keys[full] {
						t.Errorf("docs/operations.md does not have `%s`", full)
					}
				}
				continue
			}
			if !keys[prefix+key] {
				t.Errorf("docs/operations.md does not have `%s%s` below %q", prefix, key, header)
			}
		}
	}
	check("| key | default | meaning |", reflect.TypeFor[config.Config](), "")
	check("| key of a port | default | meaning |", reflect.TypeFor[config.Port](), "")
	check("| key of `impair` | default | meaning |", reflect.TypeFor[config.Impair](), "")
}

func TestREADMEIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150", n)
	}
	if strings.Contains(read(t, "README.md"), "FIGURES") {
		t.Error("README.md has a placeholder for figures")
	}
}
