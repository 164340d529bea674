package deploy

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"sallyport/test/sut"
)

var update = flag.Bool("update", false, "write the files that are made from others")

func TestMain(m *testing.M) { sut.Main(m) }

// at is a path of the repository.
func at(tb testing.TB, path ...string) string {
	tb.Helper()
	return filepath.Join(append([]string{sut.Root(tb)}, path...)...)
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func write(tb testing.TB, path string, raw []byte) {
	tb.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		tb.Fatal(err)
	}
}
