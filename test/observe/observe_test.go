// Package observe answers: do the dashboards, the alerts and the runbook tell the truth about a running installation?
//
// A real Prometheus scrapes a real installation under load, and every query that deploy/ ships is put to it.
package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m) }

// quiet are parts of queries that find nothing while all is well, and why.
var quiet = map[string]string{
	`sallyport_bus_events_total{outcome="dead"}`: "no message of a healthy installation is dead",
	`ALERTS{`:                    "no alert of a healthy installation rings",
	`(up{job="sallyport"} == 0)`: "every replica of a healthy installation answers",
	`service="haproxy"`:          "the balancer is not there",
}

// metric finds the names of our metrics, as they are written in code, queries and prose.
var metric = regexp.MustCompile(`sallyport_(?:sms|bus|totp|policy|gateway|store)_[a-z0-9_]*[a-z0-9]`)

// family is the name under which the code has a metric: that of a histogram, not of its parts.
func family(name string, has func(string) bool) string {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if whole, ok := strings.CutSuffix(name, part); ok && !has(name) {
			return whole
		}
	}
	return name
}

// deploy is a path in deploy/.
func deploy(tb testing.TB, path ...string) string {
	tb.Helper()
	return filepath.Join(append([]string{sut.Root(tb), "deploy"}, path...)...)
}

// tool is where a command of Debian's prometheus is.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%v (scripts/setup installs it)", err)
	}
	return path
}

func read(tb testing.TB, path string) string {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// glob is what matches, which must be something.
func glob(tb testing.TB, pattern string) []string {
	tb.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		tb.Fatalf("%s: no file, %v", pattern, err)
	}
	return all
}
