package deploy

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// composed is deploy/compose.yaml as Compose itself reads it, with the operator's profile.
func composed(tb testing.TB) *types.Project {
	tb.Helper()
	o, err := cli.NewProjectOptions([]string{at(tb, "deploy", "compose.yaml")},
		cli.WithEnv([]string{"PUBLIC_URL=https://portal.example", "GRAFANA_PASSWORD=x"}),
		cli.WithProfiles([]string{"operator"}), cli.WithInterpolation(true), cli.WithNormalization(true), cli.WithConsistency(true))
	if err != nil {
		tb.Fatal(err)
	}
	p, err := o.LoadProject(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// environment is what a container is told, without what is empty: an empty variable is a setting that is not made.
func environment(s types.ServiceConfig) map[string]string {
	out := make(map[string]string)
	for k, v := range s.Environment {
		if v != nil && *v != "" {
			out[k] = *v
		}
	}
	return out
}

// Without its two answers the file says what it wants.
func TestComposeAsksForWhatOnlyYouKnow(t *testing.T) {
	for _, missing := range []string{"PUBLIC_URL", "GRAFANA_PASSWORD"} {
		env := slices.DeleteFunc([]string{"PUBLIC_URL=x", "GRAFANA_PASSWORD=x"}, func(v string) bool { return strings.HasPrefix(v, missing) })
		o, err := cli.NewProjectOptions([]string{at(t, "deploy", "compose.yaml")}, cli.WithEnv(env))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// Each part knows what it is told, waits for what it needs, has bounds, and no right that it does not need.
func TestComposeParts(t *testing.T) {
	p := composed(t)
	for name, s := range p.Services {
		binary := strings.TrimPrefix(path.Base(s.Image), "sallyport/")
		binary, tag, _ := strings.Cut(binary, ":")
		if tag == "" || tag == "latest" {
			t.Errorf("%s: image %s is of no version", name, s.Image)
		}
		ours := strings.HasPrefix(s.Image, "sallyport/")
		if ours {
			if !slices.Contains(append([]string{"sallyport"}, services...), binary) || s.Build == nil || *s.Build.Args["SERVICE"] != binary {
				t.Errorf("%s: image %s is not built here", name, s.Image)
			}
			if name != "provision" {
				judge(t, "compose", binary, environment(s))
			}
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s has rights that it does not need", name)
		}
		root := s.User == "" || strings.HasPrefix(s.User, "0")
		if root && !slices.Contains([]string{"provision", "prometheus", "grafana"}, name) { // the two have users of their own
			t.Errorf("%s is root", name)
		}
		if len(s.CapAdd) > 0 && (name != "provision" || s.NetworkMode != "none") {
			t.Errorf("%s gets rights, and can be reached: %v", name, s.CapAdd)
		}
		oneShot := s.Restart == "no"
		switch {
		case oneShot:
			continue
		case s.Restart != "unless-stopped":
			t.Errorf("%s does not come back", name)
		case s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] != "CMD":
			t.Errorf("%s: nobody knows whether it is well: %+v", name, s.HealthCheck)
		case s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 || s.Deploy.Resources.Limits.Pids == 0:
			t.Errorf("%s has no bounds", name)
		}
	}
	for _, s := range services {
		if got := p.Services[s].HealthCheck.Test; !slices.Equal(got, []string{"CMD", "/service", "--ready"}) {
			t.Errorf("%s is asked %v", s, got)
		}
		if got := slices.Sorted(maps.Keys(p.Services[s].DependsOn)); !slices.Equal(got, []string{"mongodb-prepare", "nats-prepare", "provision"}) {
			t.Errorf("%s waits for %v", s, got)
		}
	}
}

// Only the gateway, and Grafana for this machine alone, can be reached from outside; only the gateway, the dispatcher and
// who looks reach out.
func TestComposeNetworks(t *testing.T) {
	p := composed(t)
	outside := map[string][]string{}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if name != "auth-gateway" && (name != "grafana" || port.HostIP != "127.0.0.1") {
				t.Errorf("%s publishes %s", name, port.Published)
			}
		}
		for n := range s.Networks {
			if !p.Networks[n].Internal {
				outside[n] = append(outside[n], name)
			}
		}
	}
	for n, want := range map[string][]string{"front": {"auth-gateway"}, "out": {"operator", "sms-dispatcher"}, "desk": {"grafana"}} {
		slices.Sort(outside[n])
		if !slices.Equal(outside[n], want) {
			t.Errorf("in %s are %v, want %v", n, outside[n], want)
		}
		delete(outside, n)
	}
	if len(outside) > 0 {
		t.Errorf("more leads outside: %v", outside)
	}
	if got, gw := *p.Services["auth-gateway"].Environment["TRUSTED_PROXIES"], p.Networks["front"].Ipam.Config[0].Gateway; got != gw {
		t.Errorf("TRUSTED_PROXIES is %s; what comes through this machine comes from %s", got, gw)
	}
	if _, ok := p.Services["prometheus"].Networks["documents"]; ok {
		t.Error("Prometheus reaches MongoDB")
	}
}

// Each part sees its own directory of what `sallyport provision` makes, and no other; files that are mounted exist.
func TestComposeFiles(t *testing.T) {
	p := composed(t)
	own := map[string]string{"nats-prepare": "keeper", "mongodb-prepare": "mongodb", "operator": "operator"}
	for _, s := range services {
		own[s] = s
	}
	for _, n := range []string{"1", "2", "3"} {
		own["nats-"+n], own["mongodb-"+n] = "nats", "mongodb"
	}
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			switch {
			case v.Type == types.VolumeTypeBind:
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s: %s: %v, read-only: %t", name, v.Source, err, v.ReadOnly)
				}
			case v.Source == "provision" && v.Target == "/run/sallyport":
				if v.Volume == nil || v.Volume.Subpath != own[name] || !v.ReadOnly {
					t.Errorf("%s sees %+v", name, v)
				}
			case v.Source == "provision" && name != "provision" && name != "operator":
				t.Errorf("%s sees everybody's keys", name)
			}
		}
		for k, v := range environment(s) {
			if strings.HasSuffix(k, "_FILE") && !strings.HasPrefix(v, "/run/sallyport/") {
				t.Errorf("%s: %s is %s, which it does not see", name, k, v)
			}
		}
	}
	if got := p.Services["prometheus"].Command[0]; got != "--config.file=/etc/prometheus/prometheus.compose.yml" {
		t.Errorf("Prometheus reads %s", got)
	}
}

// NATS is the version whose code is tested here.
func TestComposeRunsTheNATSThatIsTested(t *testing.T) {
	m := regexp.MustCompile(`nats-io/nats-server/v2 v(\S+)`).FindSubmatch(read(t, at(t, "pkg", "go.mod")))
	for _, n := range []string{"nats-1", "nats-2", "nats-3"} {
		if got, want := composed(t).Services[n].Image, "nats:"+string(m[1])+"-alpine"; got != want {
			t.Errorf("%s is %s, want %s", n, got, want)
		}
	}
}

// The Prometheus of Compose has the rules and intervals of the one that is tested (test/observe).
func TestComposePrometheus(t *testing.T) {
	config := func(file string) string {
		raw := string(read(t, at(t, "deploy", "prometheus", file)))
		head, _, _ := strings.Cut(raw, "scrape_configs:")
		return regexp.MustCompile(`(?m)^\s*#.*\n|\n+$`).ReplaceAllString(head, "")
	}
	if a, b := strings.TrimSpace(config("prometheus.yml")), strings.TrimSpace(config("prometheus.compose.yml")); a != b {
		t.Errorf("they differ:\n%s\n--\n%s", a, b)
	}
	raw := string(read(t, at(t, "deploy", "prometheus", "prometheus.compose.yml")))
	for _, s := range services {
		if !strings.Contains(raw, s) || !strings.Contains(raw, "job_name: sallyport\n") {
			t.Errorf("%s is not looked at", s)
		}
		if *composed(t).Services[s].Environment["OPS_ADDR"] != "0.0.0.0:9090" {
			t.Errorf("%s listens elsewhere", s)
		}
	}
	if _, err := filepath.Glob(at(t, "deploy", "prometheus", "rules", "*.yaml")); err != nil {
		t.Fatal(err)
	}
}
