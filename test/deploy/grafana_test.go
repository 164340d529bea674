package deploy

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// dataSources is what Grafana reads from provisioning/datasources, as far as it is used here.
type dataSources struct {
	APIVersion  int `json:"apiVersion"`
	DataSources []struct {
		Name      string `json:"name"`
		Type      string `json:"type"`
		UID       string `json:"uid"`
		Access    string `json:"access"`
		URL       string `json:"url"`
		IsDefault bool   `json:"isDefault"`
		JSONData  struct {
			TimeInterval string `json:"timeInterval"`
		} `json:"jsonData"`
	} `json:"datasources"`
}

// providers is what Grafana reads from provisioning/dashboards.
type providers struct {
	APIVersion int `json:"apiVersion"`
	Providers  []struct {
		Name                  string `json:"name"`
		Folder                string `json:"folder"`
		Type                  string `json:"type"`
		AllowUIUpdates        bool   `json:"allowUiUpdates"`
		UpdateIntervalSeconds int    `json:"updateIntervalSeconds"`
		Options               struct {
			Path string `json:"path"`
		} `json:"options"`
	} `json:"providers"`
}

// decode reads a file of deploy/ strictly: what Grafana would pass over without a word is an error here.
func decode[T any](tb testing.TB, file ...string) (out T) {
	tb.Helper()
	if err := yaml.UnmarshalStrict(read(tb, at(tb, append([]string{"deploy"}, file...)...)), &out); err != nil {
		tb.Fatalf("%v: %v", file, err)
	}
	return out
}

// Grafana finds Prometheus and the dashboards where Compose puts them, by what Compose tells it.
func TestGrafanaFindsWhatComposeHas(t *testing.T) {
	p := composed(t)
	grafana := p.Services["grafana"]
	env := environment(grafana)

	s := decode[dataSources](t, "grafana", "provisioning", "datasources", "prometheus.yaml")
	if s.APIVersion != 1 || len(s.DataSources) != 1 {
		t.Fatalf("%+v", s)
	}
	d := s.DataSources[0]
	if d.Type != "prometheus" || d.Access != "proxy" || !d.IsDefault || d.URL != "$PROMETHEUS_URL" || env["PROMETHEUS_URL"] != "http://prometheus:9090" {
		t.Errorf("%+v, and PROMETHEUS_URL is %s", d, env["PROMETHEUS_URL"])
	}
	if !strings.Contains(string(read(t, at(t, "deploy", "prometheus", "prometheus.yml"))), "scrape_interval: "+d.JSONData.TimeInterval+"\n") {
		t.Errorf("it takes the interval of scrapes for %s", d.JSONData.TimeInterval)
	}
	for _, board := range []string{"services.json", "sign-ins.json", "text-messages.json"} {
		if text := string(read(t, at(t, "deploy", "grafana", board))); !strings.Contains(text, `"uid": "`+d.UID+`"`) && !strings.Contains(text, "${datasource}") {
			t.Errorf("%s asks another source than %s", board, d.UID)
		}
	}

	b := decode[providers](t, "grafana", "provisioning", "dashboards", "sallyport.yaml")
	if b.APIVersion != 1 || len(b.Providers) != 1 || b.Providers[0].Type != "file" || b.Providers[0].Options.Path != "$SALLYPORT_DASHBOARDS" {
		t.Fatalf("%+v", b)
	}
	for target, source := range map[string]string{env["SALLYPORT_DASHBOARDS"]: "grafana", "/etc/grafana/provisioning": "grafana/provisioning"} {
		if !slices.ContainsFunc(grafana.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == target && v.Source == at(t, "deploy", source) && v.ReadOnly
		}) {
			t.Errorf("%s is not at %q: %+v", source, target, grafana.Volumes)
		}
	}
	// They are in one network, and Prometheus listens there.
	if _, ok := grafana.Networks["watch"]; !ok || p.Services["prometheus"].Networks == nil || path.Base(env["PROMETHEUS_URL"]) != "prometheus:9090" {
		t.Error("Grafana does not reach Prometheus")
	}
}
