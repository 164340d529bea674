package observe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what these tests know of Grafana's format.
type dashboard struct {
	UID           string  `json:"uid"`
	Title         string  `json:"title"`
	Description   string  `json:"description"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Annotations   struct {
		List []struct{ Name, Expr string } `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID          int                      `json:"id"`
	Type        string                   `json:"type"`
	Title       string                   `json:"title"`
	Description string                   `json:"description"`
	Datasource  datasource               `json:"datasource"`
	Panels      []panel                  `json:"panels"`
	GridPos     struct{ X, Y, W, H int } `json:"gridPos"`
	Targets     []struct {
		Expr         string     `json:"expr"`
		LegendFormat string     `json:"legendFormat"`
		Datasource   datasource `json:"datasource"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit     string `json:"unit"`
			Decimals *int   `json:"decimals"`
			NoValue  string `json:"noValue"`
			Mappings []struct {
				Options map[string]struct{ Text string } `json:"options"`
			} `json:"mappings"`
			Thresholds struct {
				Steps []struct {
					Color string   `json:"color"`
					Value *float64 `json:"value"`
				} `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

type datasource struct{ Type, UID string }

type variable struct {
	Name, Type, Definition, AllValue string
	IncludeAll                       bool
	Current                          struct{ Value any }
}

// query is one that a dashboard puts to Prometheus, with its variables filled in.
type query struct{ where, expr string }

// dashboards are all that deploy/grafana has, by file name.
func dashboards(tb testing.TB) map[string]dashboard {
	tb.Helper()
	out := map[string]dashboard{}
	for _, file := range glob(tb, deploy(tb, "grafana", "*.json")) {
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(raw, &d); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		out[filepath.Base(file)] = d
	}
	return out
}

// all are the panels, those of closed rows included.
func (d dashboard) all() []panel {
	var out []panel
	for _, p := range d.Panels {
		out = append(append(out, p), p.Panels...)
	}
	return out
}

// queries are those of panels, annotations and variables.
func (d dashboard) queries(tb testing.TB, file string) []query {
	tb.Helper()
	var out []query
	add := func(where, expr string) {
		out = append(out, query{file + ": " + where, d.fill(tb, expr)})
	}
	for _, p := range d.all() {
		for _, t := range p.Targets {
			add(p.Title, t.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			add("annotation "+a.Name, a.Expr)
		}
	}
	of := regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		found := of.FindStringSubmatch(v.Definition)
		if found == nil {
			tb.Fatalf("%s: variable %s is %q, which this test cannot read", file, v.Name, v.Definition)
		}
		add("variable "+v.Name, "count by ("+found[2]+") ("+found[1]+")")
	}
	return out
}

// fill puts values in the place of variables, as Grafana does: everything, where there is a choice.
func (d dashboard) fill(tb testing.TB, expr string) string {
	tb.Helper()
	values := map[string]string{"__rate_interval": "30s", "__interval": "15s", "__range": "1h"}
	for _, v := range d.Templating.List {
		switch {
		case v.IncludeAll && v.AllValue != "":
			values[v.Name] = v.AllValue
		case v.IncludeAll:
			values[v.Name] = ".*"
		default:
			values[v.Name], _ = v.Current.Value.(string)
		}
	}
	return regexp.MustCompile(`\$\{?(\w+)(:\w+)?\}?`).ReplaceAllStringFunc(expr, func(ref string) string {
		name, _, _ := strings.Cut(strings.Trim(ref, "${}"), ":")
		if values[name] == "" {
			tb.Fatalf("%q: nothing says what $%s is", expr, name)
		}
		return values[name]
	})
}

// over tells whether two panels share a part of the grid.
func (p panel) over(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// TestEveryAlertIsOnADashboard: it is counted under "Alerts that ring", and marks the time in every panel.
func TestEveryAlertIsOnADashboard(t *testing.T) {
	var shown []*regexp.Regexp
	for file, d := range dashboards(t) {
		names := regexp.MustCompile(`alertname=~"([^"]+)"`).FindStringSubmatch(d.Annotations.List[0].Expr)
		if names == nil || !strings.Contains(d.Panels[1].Targets[0].Expr, names[0]) {
			t.Fatalf("%s does not count the alerts that it marks", file)
		}
		shown = append(shown, regexp.MustCompile("^(?:"+names[1]+")$"))
	}
	for _, file := range glob(t, deploy(t, "prometheus", "rules", "*.yaml")) {
		for _, found := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(read(t, file), -1) {
			if !slices.ContainsFunc(shown, func(r *regexp.Regexp) bool { return r.MatchString(found[1]) }) {
				t.Errorf("no dashboard shows %s", found[1])
			}
		}
	}
}

// TestDashboardsExplainThemselves: every panel says what is normal, asks the data source that was chosen, and needs no
// plugin.
func TestDashboardsExplainThemselves(t *testing.T) {
	builtIn := []string{"row", "timeseries", "stat", "gauge", "bargauge", "table", "text", "heatmap", "histogram", "barchart", "state-timeline"}
	uids := map[string]string{}
	for file, d := range dashboards(t) {
		if other := uids[d.UID]; d.UID == "" || other != "" {
			t.Errorf("%s: uid %q, which %q has too", file, d.UID, other)
		}
		uids[d.UID] = file
		// 39 is that of Grafana 11; an older one is migrated in the browser, into something that nobody has seen.
		if d.SchemaVersion < 39 {
			t.Errorf("%s: schemaVersion %d", file, d.SchemaVersion)
		}
		ids := map[int]bool{}
		for i, p := range d.all() {
			for _, q := range d.all()[:i] {
				if p.over(q) {
					t.Errorf("%s: %s lies over %s", file, p.Title, q.Title)
				}
			}
			if p.ID == 0 || ids[p.ID] || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: %s: id %d is taken, or it stands outside of the grid", file, p.Title, p.ID)
			}
			ids[p.ID] = true
			if !slices.Contains(builtIn, p.Type) {
				t.Errorf("%s: %s: a panel of type %s may need a plugin", file, p.Title, p.Type)
			}
			if p.Type == "row" || p.Type == "text" {
				continue
			}
			if !strings.Contains(p.Description, "Normal") && !strings.Contains(p.Description, "runbook") {
				t.Errorf("%s: %s does not say what is normal or where to look", file, p.Title)
			}
			for _, target := range p.Targets {
				if target.Datasource.UID != "${datasource}" || target.Expr == "" {
					t.Errorf("%s: %s: a query for %q: %q", file, p.Title, target.Datasource.UID, target.Expr)
				}
			}
		}
	}
}

// TestBucketsAreNamedForBothPrometheuses: 2 says le="20", 3 says le="20.0". A query that names a whole number must match
// either, or it finds nothing on one of them, and is silent.
func TestBucketsAreNamedForBothPrometheuses(t *testing.T) {
	bare := regexp.MustCompile(`\b(?:le|quantile)\s*=~?\s*\\?"[^"\\]*\d\\?"`)
	files := append(glob(t, deploy(t, "prometheus", "rules", "*.yaml")), glob(t, deploy(t, "grafana", "*.json"))...)
	for _, file := range files {
		for line := range strings.Lines(read(t, file)) {
			for _, found := range bare.FindAllString(line, -1) {
				if !strings.Contains(found, ".") {
					t.Errorf("%s: %s is %s on the other one; write %s", file, found, strings.TrimSuffix(found, `"`)+`.0"`, `=~"20([.]0)?"`)
				}
			}
		}
	}
}
