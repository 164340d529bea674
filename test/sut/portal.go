package sut

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// DocsPortal runs the portal that docs/portal.md shows, in front of this product until the test ends, and returns its
// address. It is taken from the page as it stands there, and set up by the commands that the page gives.
func (p *Product) DocsPortal() string {
	p.tb.Helper()
	listen := FreeAddrs(p.tb, 1)[0]
	p.Operate(0, "portal", "return-url", "add", "--portal", "demo", "http://"+listen+"/after")
	key := strings.TrimSpace(p.Operate(0, "portal", "key", "create", "--portal", "demo", "--name", "my portal").Stdout())
	program := buildDocsPortal(p.tb)
	c := beginAt(p.tb, "portal", program, map[string]string{"GATE": p.Base, "LISTEN": listen, "API_KEY": key})
	p.tb.Cleanup(c.Kill9)
	at := NewClient(p.tb, "http://"+listen)
	Eventually(p.tb, 30*time.Second, "the portal of docs/portal.md listens", func() bool {
		a, err := at.Try(p.tb.Context(), "GET", "/", "", nil)
		return err == nil && a.Status == 200
	})
	return "http://" + listen
}

// buildDocsPortal builds the program of docs/portal.md, which needs nothing but Go.
func buildDocsPortal(tb testing.TB) string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(Root(tb), "docs", "portal.md"))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "\n```go\n")
	source, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		tb.Fatal("docs/portal.md shows no program")
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "portal.go"), []byte(source+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", "portal", "portal.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("the program of docs/portal.md: %v\n%s", err, out)
	}
	return filepath.Join(dir, "portal")
}
