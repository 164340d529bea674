package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// prometheus is a running one, with the shipped configuration but for the targets and a shorter breath.
type prometheus struct {
	tb   testing.TB
	base string
}

// startPrometheus scrapes ops listeners, by service or place, once a breath until the test ends. A breath is also how long it waits
// for an answer, which takes one and a half seconds where a dependency does not answer.
func startPrometheus(tb testing.TB, ops map[string]string, breath string) *prometheus {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	shipped := read(tb, deploy(tb, "prometheus", "prometheus.yml"))
	quick := strings.ReplaceAll(shipped, "_interval: 15s", "_interval: "+breath)
	if strings.Count(quick, "_interval: "+breath) != 2 {
		tb.Fatalf("prometheus.yml has other intervals than this test knows:\n%s", shipped)
	}
	write("prometheus.yml", quick)
	var targets strings.Builder
	for place, url := range ops {
		service := strings.TrimSuffix(place, "-2") // the second place of a service
		fmt.Fprintf(&targets, "- targets: [%q]\n  labels: {service: %s}\n", strings.TrimPrefix(url, "http://"), service)
	}
	write("targets.yaml", targets.String())
	if err := os.CopyFS(filepath.Join(dir, "rules"), os.DirFS(deploy(tb, "prometheus", "rules"))); err != nil {
		tb.Fatal(err)
	}
	addr := sut.FreeAddrs(tb, 1)[0]
	process := sut.RunTool(tb, tool(tb, "prometheus"), append(consoles(tb), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=warn")...)
	p := &prometheus{tb: tb, base: "http://" + addr}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("output of Prometheus:\n%s", process.Output())
		}
	})
	sut.Eventually(tb, 60*time.Second, "Prometheus has scraped the installation twice", func() bool {
		if !process.Running() {
			tb.Fatalf("Prometheus has ended:\n%s", process.Output())
		}
		n, err := p.value(fmt.Sprintf("count_over_time((sum(up) == %d)[1m:1s])", len(ops)))
		return err == nil && n >= 2
	})
	return p
}

// get decodes the data of an answer of the HTTP API. What Prometheus refuses, a query that it cannot parse for one, is
// an error in its words.
func (p *prometheus) get(path string, data any) error {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(p.base + path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return nil
}

// ask evaluates a query now and returns how many series it has, and how many of them have a number as their value.
func (p *prometheus) ask(expr string) (series []float64, err error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("a %s, not a vector", data.ResultType)
	}
	var vector []struct{ Value [2]any }
	if err := json.Unmarshal(data.Result, &vector); err != nil {
		return nil, err
	}
	for _, v := range vector {
		text, _ := v.Value[1].(string)
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		series = append(series, n)
	}
	return series, nil
}

// value is the first number of a query's answer.
func (p *prometheus) value(expr string) (float64, error) {
	series, err := p.ask(expr)
	if err != nil {
		return 0, err
	}
	for _, n := range series {
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%d series, and no number", len(series))
}

// rule is one that Prometheus has loaded.
type rule struct {
	Type, Name, Query, Health, LastError string
	Labels, Annotations                  map[string]string
}

// rules are all, of every file.
func (p *prometheus) rules() []rule {
	p.tb.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	if err := p.get("/api/v1/rules", &data); err != nil {
		p.tb.Fatal(err)
	}
	var out []rule
	for _, g := range data.Groups {
		out = append(out, g.Rules...)
	}
	return out
}
