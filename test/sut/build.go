package sut

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built are the commands that this test process has built.
var built struct {
	sync.Mutex
	dir    string
	byName map[string]string
}

// Binary returns the path of a command of the product, built once per test process; under the race detector it has
// that too, and a race ends it with a status of its own. SALLYPORT_BIN names a directory of ready-made ones instead.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	if dir := os.Getenv("SALLYPORT_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	built.Lock()
	defer built.Unlock()
	if path := built.byName[name]; path != "" {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "sallyport-bin-")
		if err != nil {
			tb.Fatal(err)
		}
		built.dir, built.byName = dir, make(map[string]string)
	}
	path := filepath.Join(built.dir, name)
	args := []string{"build", "-trimpath", "-o", path}
	if Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./services/"+name)...)
	cmd.Dir = Root(tb)
	if !Race {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", name, err, out)
	}
	built.byName[name] = path
	return path
}

// Main runs the tests of a package and removes what [Binary] built: func TestMain(m *testing.M) { sut.Main(m) }. What of
// them together must hold is checked after they passed.
func Main(m *testing.M, together ...func() error) {
	code := m.Run()
	for _, check := range together {
		if code != 0 {
			break
		}
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a temporary directory
	}
	os.Exit(code)
}

// Root is the top of the workspace.
func Root(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("go", "env", "GOWORK").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" {
		tb.Fatalf("go env GOWORK: %q, %v", file, err)
	}
	return filepath.Dir(file)
}
