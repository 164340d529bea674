package deploy

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// composed is deploy/compose.yaml as Compose itself reads it, with the operator's profile, and with other files beside it.
func composed(tb testing.TB, more ...string) *types.Project {
	tb.Helper()
	files := []string{at(tb, "deploy", "compose.yaml")}
	for _, file := range more {
		files = append(files, at(tb, "deploy", file))
	}
	o, err := cli.NewProjectOptions(files,
		cli.WithEnv([]string{"PUBLIC_URL=https://portal.example", "GRAFANA_PASSWORD=x", "SALLYPORT_REVISION=abc123"}),
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

// The commands that stand at the head of the files, and in the papers, give those answers.
func TestComposeCommandsSetThem(t *testing.T) {
	for _, file := range []string{"deploy/compose.yaml", "docs/deploy.md"} {
		text := string(read(t, at(t, file)))
		before, _, ok := strings.Cut(text, "docker compose -f deploy/compose.yaml ")
		if !ok || !strings.Contains(before, "PUBLIC_URL=") || !strings.Contains(before, "GRAFANA_PASSWORD=") {
			t.Errorf("%s: its first command of Compose is given no PUBLIC_URL and GRAFANA_PASSWORD", file)
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

// Who is well is asked by the name that others use: at its first start MongoDB's image runs a server on loopback alone, and ends
// it again when it has made the administrator.
func TestComposeAsksMongoDBByName(t *testing.T) {
	p := composed(t)
	for _, name := range []string{"mongodb-1", "mongodb-2", "mongodb-3"} {
		h := p.Services[name].HealthCheck
		if asked := strings.Join(h.Test, " "); !strings.Contains(asked, "//"+name+":27017/") || h.Retries == nil || h.StartPeriod == nil || h.StartInterval == nil {
			t.Errorf("%s is asked %s, with %+v", name, asked, h)
		}
	}
}

// With keys that AWS KMS has wrapped, all who open them reach out and are somebody there; nobody else changes.
func TestComposeWithKMS(t *testing.T) {
	plain, p := composed(t), composed(t, "compose.kms.yaml")
	for name, s := range p.Services {
		asks := name == "operator" || slices.Contains(services, name)
		_, identity := s.Environment["AWS_ACCESS_KEY_ID"]
		_, proof := s.Environment["AWS_SECRET_ACCESS_KEY"]
		out := slices.ContainsFunc(slices.Collect(maps.Keys(s.Networks)), func(n string) bool { return !p.Networks[n].Internal })
		if asks != (identity && proof) || asks && !out {
			t.Errorf("%s: identity %t, way out %t", name, identity && proof, out)
		}
		for n := range plain.Services[name].Networks {
			if _, ok := s.Networks[n]; !ok {
				t.Errorf("%s is not in %s any more", name, n)
			}
		}
		if !asks && !reflect.DeepEqual(s, plain.Services[name]) {
			t.Errorf("%s is another", name)
		}
	}
}

// Images that are built here say what they were built from; compose.yaml is told so.
func TestComposeTellsTheBuild(t *testing.T) {
	p := composed(t)
	for name, s := range p.Services {
		if s.Build == nil {
			continue
		}
		_, tag, _ := strings.Cut(path.Base(s.Image), ":")
		if v := s.Build.Args["VERSION"]; v == nil || *v != tag {
			t.Errorf("%s: image %s is built as version %v", name, s.Image, v)
		}
		if r := s.Build.Args["REVISION"]; r == nil || *r != "abc123" {
			t.Errorf("%s: image %s is built as revision %v", name, s.Image, r)
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
