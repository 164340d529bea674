package observe

import (
	"bytes"
	"flag"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the consoles that are made from the dashboards")

// TestConsolesAreTheDashboards: what Prometheus itself shows under /consoles/ is what deploy/grafana says, panel by panel.
func TestConsolesAreTheDashboards(t *testing.T) {
	all := dashboards(t)
	for file, d := range all {
		shipped := deploy(t, "prometheus", "consoles", page(file))
		want := d.console(t, file, all)
		if *update {
			if err := os.WriteFile(shipped, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if read(t, shipped) != string(want) {
			t.Errorf("%s is not what deploy/grafana/%s says; go test ./test/observe -run TestConsolesAreTheDashboards -update writes it", shipped, file)
		}
	}
	if got := glob(t, deploy(t, "prometheus", "consoles", "*.html")); len(got) != len(all) {
		t.Errorf("%d consoles of %d dashboards: %v", len(got), len(all), got)
	}
}

// page is the console of a dashboard.
func page(file string) string { return strings.TrimSuffix(file, ".json") + ".html" }

// console is the page of a dashboard: each panel is a card with what it shows now.
func (d dashboard) console(tb testing.TB, file string, all map[string]dashboard) []byte {
	tb.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "{{/* Made from deploy/grafana/%s by go test ./test/observe -run TestConsolesAreTheDashboards -update. Change it there. */}}\n", file)
	fmt.Fprintf(&b, "{{ template \"page-begins\" %q }}\n<header>\n<h1>%s</h1>\n<nav aria-label=\"Consoles\">\n", d.Title, html.EscapeString(d.Title))
	for _, other := range slices.Sorted(maps.Keys(all)) {
		current := ""
		if other == file {
			current = ` aria-current="page"`
		}
		fmt.Fprintf(&b, "<a href=\"%s\"%s>%s</a>\n", page(other), current, strings.TrimPrefix(all[other].Title, "Sallyport: "))
	}
	fmt.Fprintf(&b, "</nav>\n</header>\n<p class=\"lead\">%s</p>\n{{ template \"alerts\" }}\n", html.EscapeString(d.Description))
	open, kind := false, ""
	section := func(next string) {
		if open {
			b.WriteString("</div>\n")
		}
		if open = next != ""; open {
			fmt.Fprintf(&b, "<div class=%q>\n", next)
		}
		kind = next
	}
	for _, p := range d.all() {
		if p.Type == "row" {
			section("")
			fmt.Fprintf(&b, "<h2>%s</h2>\n", html.EscapeString(p.Title))
			continue
		}
		want := "cards"
		if p.Type == "stat" {
			want = "cards figures"
		}
		if kind != want {
			section(want)
		}
		d.card(tb, &b, p)
	}
	section("")
	b.WriteString("{{ template \"page-ends\" }}\n")
	return b.Bytes()
}

// card is one panel.
func (d dashboard) card(tb testing.TB, b *bytes.Buffer, p panel) {
	tb.Helper()
	graph := make(url.Values)
	for i, t := range p.Targets {
		graph.Set(fmt.Sprintf("g%d.expr", i), d.now(tb, t.Expr))
		graph.Set(fmt.Sprintf("g%d.tab", i), "0")
		graph.Set(fmt.Sprintf("g%d.range_input", i), "1h")
	}
	fmt.Fprintf(b, "<article class=\"card%s\" id=\"p%d\">\n<div class=\"top\"><h3>%s</h3><a class=\"graph\" href=\"{{ pathPrefix }}/graph?%s\">graph</a></div>\n",
		p.wide(), p.ID, html.EscapeString(p.Title), html.EscapeString(graph.Encode()))
	if p.Type != "stat" {
		b.WriteString("<table>\n")
	}
	for _, t := range p.Targets {
		query := "query " + goString(d.now(tb, t.Expr))
		labels := regexp.MustCompile(`\{\{ *(\w+) *\}\}`).FindAllStringSubmatch(t.LegendFormat, -1)
		columns := p.columns()
		switch {
		case len(columns) > 0:
			query += fmt.Sprintf(" | sortByLabel %q", columns[0])
			fmt.Fprintf(b, "<tr><th>%s</th></tr>\n", strings.Join(columns, "</th><th>"))
		case len(labels) > 0 && !strings.HasPrefix(t.Expr, "topk"): // which is sorted
			query += fmt.Sprintf(" | sortByLabel %q", labels[0][1])
		}
		class := p.class()
		switch {
		case p.Type == "stat":
			fmt.Fprintf(b, "{{ with %s }}{{ $v := . | first | value }}<p class=\"figure %s\">%s</p>{{ else }}<p class=\"figure none\">%s</p>{{ end }}\n", query, class, p.written(), p.none())
		case len(columns) > 0:
			fmt.Fprintf(b, "{{ range %s }}<tr>", query)
			for _, c := range columns {
				fmt.Fprintf(b, "<td>{{ label %q . }}</td>", c)
			}
			fmt.Fprintf(b, "</tr>\n{{ else }}<tr class=\"none\"><td colspan=\"%d\">%s</td></tr>{{ end }}\n", len(columns), p.none())
		default:
			legend := regexp.MustCompile(`\{\{ *(\w+) *\}\}`).ReplaceAllString(html.EscapeString(t.LegendFormat), `{{ label "$1" . }}`)
			fmt.Fprintf(b, "{{ range %s }}{{ $v := value . }}<tr><td>%s</td><td class=\"v %s\">%s</td></tr>\n{{ else }}<tr class=\"none\"><td>%s</td></tr>{{ end }}\n",
				query, legend, class, p.written(), strings.TrimSpace(regexp.MustCompile(`\{\{ *\w+ *\}\}`).ReplaceAllString(html.EscapeString(t.LegendFormat), "")+" "+p.none()))
		}
	}
	if p.Type != "stat" {
		b.WriteString("</table>\n")
	}
	fmt.Fprintf(b, "<p class=\"why\">%s</p>\n</article>\n", html.EscapeString(p.Description))
}

// columns are the labels that a table shows, as its query has them.
func (p panel) columns() []string {
	if p.Type != "table" {
		return nil
	}
	return strings.Split(regexp.MustCompile(`\bby \(([^)]+)\)`).FindStringSubmatch(p.Targets[0].Expr)[1], ", ")
}

// wide is the class of a table that needs the room of two cards.
func (p panel) wide() string {
	if len(p.columns()) > 3 {
		return " wide"
	}
	return ""
}

// now is a query with its variables filled in for a page that has no choice: everything, over a minute of rates.
func (d dashboard) now(tb testing.TB, expr string) string {
	tb.Helper()
	return d.fill(tb, strings.ReplaceAll(expr, "$__rate_interval", "1m"))
}

// goString is a string of Go, as a template has it.
func goString(s string) string {
	if strings.Contains(s, "`") {
		return strconv.Quote(s)
	}
	return "`" + s + "`"
}

// none is what a panel says where there is nothing to show.
func (p panel) none() string {
	if p.FieldConfig.Defaults.NoValue == "" {
		return "no data"
	}
	return html.EscapeString(p.FieldConfig.Defaults.NoValue)
}

// written is a template's action that writes $v in the unit of the panel, or in its words.
func (p panel) written() string {
	f := p.FieldConfig.Defaults
	unit := f.Unit
	switch {
	case unit == "":
		unit = "short"
	case unit == "short" && f.Decimals != nil && *f.Decimals == 0:
		unit = "whole"
	}
	out := fmt.Sprintf("{{ template %q $v }}", unit)
	for _, m := range f.Mappings {
		for _, value := range slices.Sorted(maps.Keys(m.Options)) {
			out = fmt.Sprintf("{{ if eq $v %s.0 }}%s{{ else }}%s{{ end }}", value, html.EscapeString(m.Options[value].Text), out)
		}
	}
	return out
}

// class is a template's action that says how good $v is, by the thresholds of the panel.
func (p panel) class() string {
	names := map[string]string{"#6ba583": "green", "#d9a441": "amber", "#c4635a": "red", "#6f8fbf": "blue"}
	out := ""
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps { // from the lowest to the highest
		if s.Value == nil {
			out = names[s.Color]
			continue
		}
		at := strconv.FormatFloat(*s.Value, 'f', -1, 64)
		if !strings.Contains(at, ".") {
			at += ".0"
		}
		out = fmt.Sprintf("{{ if ge $v %s }}%s{{ else }}%s{{ end }}", at, names[s.Color], out)
	}
	if out == "" {
		return ""
	}
	return "{{ if eq $v $v }}" + out + "{{ end }}"
}

// consoles are the flags that have Prometheus serve them.
func consoles(tb testing.TB) []string {
	dir := filepath.Clean(deploy(tb, "prometheus", "consoles"))
	return []string{"--web.console.templates=" + dir, "--web.console.libraries=" + dir}
}

// checkConsoles: Prometheus makes a whole page of each console, on which every panel that has something to show shows it.
func checkConsoles(t *testing.T, prom *prometheus, excused func(string) bool) {
	t.Helper()
	for file, d := range dashboards(t) {
		resp, err := http.Get(prom.base + "/consoles/" + page(file))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read to its end
		text := string(raw)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(text, "</html>") || strings.Contains(text, "error executing template") {
			t.Errorf("%s: %s, %v:\n%.2000s", page(file), resp.Status, err, text)
			continue
		}
		for _, p := range d.all() {
			if p.Type == "row" {
				continue
			}
			_, card, found := strings.Cut(text, fmt.Sprintf("id=\"p%d\"", p.ID))
			card, _, _ = strings.Cut(card, "</article>")
			empty := strings.Contains(card, `class="none"`) || strings.Contains(card, `class="figure none"`)
			for _, target := range p.Targets {
				empty = empty && !excused(target.Expr)
			}
			if !found || empty {
				t.Errorf("%s: %s shows nothing:\n%s", page(file), p.Title, card)
			}
		}
	}
}
