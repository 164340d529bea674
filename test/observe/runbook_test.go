package observe

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestEveryAlertHasItsPage: the annotation names a heading of the runbook.
func TestEveryAlertHasItsPage(t *testing.T) {
	_, headings := runbook(t)
	alert := regexp.MustCompile(`^ *- alert: (\w+)$`)
	page := regexp.MustCompile(`^ *runbook: docs/runbook\.md#(\S+)$`)
	for _, file := range glob(t, deploy(t, "prometheus", "rules", "*.yaml")) {
		open := "" // the alert whose page is to come
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimSuffix(line, "\n")
			if found := alert.FindStringSubmatch(line); found != nil {
				if open != "" {
					t.Errorf("%s: %s names no page", file, open)
				}
				open = found[1]
			}
			if found := page.FindStringSubmatch(line); found != nil {
				if !headings[found[1]] || found[1] != anchor(open) {
					t.Errorf("%s: %s names the page %s, which docs/runbook.md does not have under its name", file, open, found[1])
				}
				open = ""
			}
		}
		if open != "" {
			t.Errorf("%s: %s names no page", file, open)
		}
	}
}

// TestRunbookLeadsOn: who is sent from one part of the runbook to another arrives.
func TestRunbookLeadsOn(t *testing.T) {
	text, headings := runbook(t)
	for _, link := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(text, -1) {
		if !headings[link[1]] {
			t.Errorf("docs/runbook.md leads to #%s, which is no heading of it", link[1])
		}
	}
}

// runbook is the text, and what its headings are called in a link.
func runbook(t *testing.T) (text string, headings map[string]bool) {
	t.Helper()
	text = read(t, filepath.Join(sut.Root(t), "docs", "runbook.md"))
	headings = map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		headings[anchor(h[1])] = true
	}
	return text, headings
}

// anchor is what a heading is called in a link.
func anchor(heading string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

// TestMetricsThatAreNamedExist: README, docs and deploy name none that no service has.
func TestMetricsThatAreNamedExist(t *testing.T) {
	root := sut.Root(t)
	inCode := map[string]bool{}
	files(t, []string{filepath.Join(root, "pkg"), filepath.Join(root, "services")}, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, name := range metric.FindAllString(read(t, path), -1) {
			inCode[name] = true
		}
	})
	for _, s := range sut.Services { // databases are named alike
		inCode["sallyport_"+strings.ReplaceAll(s, "-", "_")] = true
	}
	has := func(name string) bool { return inCode[name] }
	files(t, []string{filepath.Join(root, "docs"), filepath.Join(root, "deploy"), filepath.Join(root, "README.md")}, func(path string) {
		var unknown []string
		for _, name := range metric.FindAllString(read(t, path), -1) {
			if !has(family(name, has)) {
				unknown = append(unknown, name)
			}
		}
		slices.Sort(unknown)
		for _, name := range slices.Compact(unknown) {
			t.Errorf("%s names %s, which the code does not have", path, name)
		}
	})
}

func files(t *testing.T, roots []string, visit func(path string)) {
	t.Helper()
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				visit(path)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}
