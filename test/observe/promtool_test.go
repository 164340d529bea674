package observe

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestConfigIsValid: Prometheus would start with what is shipped, rule files and targets included.
func TestConfigIsValid(t *testing.T) {
	promtool(t, "check", "config", deploy(t, "prometheus", "prometheus.yml"))
}

// TestAlertsRing: each alert rings where it must and is silent where it must be.
func TestAlertsRing(t *testing.T) {
	t.Parallel()
	promtool(t, append([]string{"test", "rules"}, glob(t, deploy(t, "prometheus", "tests", "*.yaml"))...)...)
}

// TestEveryAlertIsTested: in the test file of its rule file's name, both ways.
func TestEveryAlertIsTested(t *testing.T) {
	alert := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
	for _, file := range glob(t, deploy(t, "prometheus", "rules", "*.yaml")) {
		tests := read(t, strings.Replace(file, "/rules/", "/tests/", 1))
		for _, found := range alert.FindAllStringSubmatch(read(t, file), -1) {
			rings := regexp.MustCompile(`alertname: ` + found[1] + `\n +exp_alerts:\n`)
			silent := regexp.MustCompile(`alertname: ` + found[1] + `\n +exp_alerts: \[\]\n`)
			if !rings.MatchString(tests) || !silent.MatchString(tests) {
				t.Errorf("%s: %s has no test in which it rings, or none in which it is silent", file, found[1])
			}
		}
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(tool(t, "promtool"), args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
