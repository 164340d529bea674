package arch_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mostTracked is how large a tracked file may be: what is larger was built or downloaded, and stays in history for good.
const mostTracked = 1 << 20

// TestNoBinaryIsTracked holds what git has of the workspace, as it stands in the tree.
func TestNoBinaryIsTracked(t *testing.T) {
	t.Parallel()
	const top = "../.."
	if _, err := os.Stat(filepath.Join(top, ".git")); err != nil {
		t.Skip("not a checkout: nothing is tracked here")
	}
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(names) < 100 {
		t.Fatalf("git ls-files names %d files only: the rule would hold for nothing", len(names))
	}
	for _, name := range names {
		if what := unfit(filepath.Join(top, name)); what != "" {
			t.Errorf("%s %s\n  to do: git rm --cached it, and name it in .gitignore", name, what)
		}
	}
}

// unfit says why a file is not to be tracked; "" if it may be. One that is deleted and not yet committed may.
func unfit(file string) string {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if info.Size() > mostTracked {
		return fmt.Sprintf("has %d bytes, more than %d", info.Size(), mostTracked)
	}
	if raw, err := os.ReadFile(file); err != nil || bytes.HasPrefix(raw, []byte("\x7fELF")) {
		return fmt.Sprintf("is a binary, or cannot be read: %v", err)
	}
	return ""
}

func TestTheRuleOnTrackedFilesBites(t *testing.T) {
	t.Parallel()
	for content, bad := range map[string]bool{
		"package x\n":                          false,
		"\x7fELF\x02\x01\x01":                  true,
		strings.Repeat("x", mostTracked):       false,
		strings.Repeat("x", mostTracked) + "x": true,
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := unfit(file); (got != "") != bad {
			t.Errorf("%d bytes, beginning %.4q: %q", len(content), content, got)
		}
	}
}
