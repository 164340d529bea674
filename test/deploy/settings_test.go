package deploy

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/test/sut"
)

// services are the four, by the name of their binary.
var services = []string{"auth-gateway", "totp-svc", "policy-svc", "sms-dispatcher"}

// operators are the settings that sallyport's own commands read; they have no --help of variables.
var operators = []string{
	"NATS_URL", "NATS_CREDS_FILE", "NATS_USER", "NATS_PASSWORD", "NATS_CA_FILE", "NATS_CERT_FILE", "NATS_KEY_FILE", "NATS_REPLICAS",
	"MONGODB_URI", "KEYSET_FILE", "PUBLIC_URL", "LOG_LEVEL", "OPS_ADDR",
}

var (
	helps  sync.Map // name → settings with "(required)" or default
	listed = regexp.MustCompile(`(?m)^  ([A-Z][A-Z0-9_]+)\s+(\S*)`)
)

// known are the settings that a binary lists with --help, and whether it cannot do without.
func known(tb testing.TB, name string) map[string]bool {
	tb.Helper()
	if have, ok := helps.Load(name); ok {
		return have.(map[string]bool)
	}
	out := make(map[string]bool)
	if name == "sallyport" {
		for _, setting := range operators {
			out[setting] = false
		}
	} else {
		help, err := exec.Command(sut.Binary(tb, name), "--help").Output()
		if err != nil {
			tb.Fatalf("%s --help: %v\n%s", name, err, help)
		}
		for _, m := range listed.FindAllStringSubmatch(string(help), -1) {
			out[m[1]] = m[2] == "(required)"
		}
		if len(out) < 10 {
			tb.Fatalf("%s --help lists %d settings:\n%s", name, len(out), help)
		}
	}
	helps.Store(name, out)
	return out
}

// judge holds an environment against what a binary knows: nothing that it does not know, nothing missing that it must have.
func judge(tb testing.TB, where, name string, env map[string]string) {
	tb.Helper()
	knows := known(tb, name)
	told := make(map[string]bool)
	for _, v := range slices.Sorted(maps.Keys(env)) {
		setting := v
		if _, ok := knows[v]; !ok {
			setting = strings.TrimSuffix(v, "_FILE")
		}
		if _, ok := knows[setting]; !ok {
			tb.Errorf("%s: %s is told %s, which it does not know", where, name, v)
		}
		told[setting] = true
	}
	for setting, required := range knows {
		if required && !told[setting] {
			tb.Errorf("%s: %s is not told %s", where, name, setting)
		}
	}
}
