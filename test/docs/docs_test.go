// Package docs answers: does the documentation still say what the code does?
package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/pkg/contract"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documents")

const root = "../.."

// The message table of docs/architecture.md is the one that pkg/contract gives.
func TestMessageTable(t *testing.T) {
	const begin, end = "<!-- messages: begin -->\n", "<!-- messages: end -->"
	path := filepath.Join(root, "docs", "architecture.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	held, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no message table between its marks", path)
	}
	want := messageTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if held != want {
		t.Errorf("%s: the message table is not that of pkg/contract; go test ./test/docs -update writes it:\n%s", path, want)
	}
}

func messageTable() string {
	var out strings.Builder
	out.WriteString("| subject | kind | from | to | what it says |\n|---|---|---|---|---|\n")
	for _, m := range contract.Messages() {
		kind := "call"
		if m.Kind == "event" {
			kind = strings.ToLower(strings.TrimPrefix(string(m.Stream), "SALLYPORT_"))
			kind = "event, " + kind
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", strings.TrimPrefix(m.Subject, "sallyport."), kind, names(m.From), names(m.To), m.Doc)
	}
	return out.String()
}

func names(services []contract.Service) string {
	var out []string
	for _, s := range services {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// Every relative link of README and docs leads to a file.
func TestLinksLeadSomewhere(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, file := range append(append(files, decisions...), filepath.Join(root, "README.md"), filepath.Join(root, "SECURITY.md")) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

// Every make target that the README names exists.
func TestMakeTargetsExist(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("make ([a-z-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("the README says make %s, which the Makefile does not have", m[1])
		}
	}
}
