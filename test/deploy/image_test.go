package deploy

import (
	"strings"
	"testing"
)

// instructions are those of the last stage of a Dockerfile.
func instructions(tb testing.TB, file string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for line := range strings.Lines(string(read(tb, at(tb, "deploy", file)))) {
		what, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || what == "#" {
			continue
		}
		if what == "FROM" {
			clear(out)
		}
		out[what] = rest
	}
	return out
}

// An image is the binary and nothing else, run by nobody, whichever way it was made.
func TestImagesHoldNothingButTheBinary(t *testing.T) {
	for file, copies := range map[string]string{
		"Dockerfile": "--from=build /service /service", "Dockerfile.prebuilt": "bin/${SERVICE} /service",
	} {
		i := instructions(t, file)
		for what, want := range map[string]string{
			"FROM": "scratch", "COPY": copies, "USER": "65532:65532", "ENTRYPOINT": `["/service"]`, "RUN": "", "ADD": "", "ENV": "",
		} {
			if i[what] != want {
				t.Errorf("%s: %s %s, want %q", file, what, i[what], want)
			}
		}
	}
	// What Go builds with is what the workspace wants.
	if build := string(read(t, at(t, "deploy", "Dockerfile"))); !strings.Contains(build, "FROM golang:1.26-") || !strings.HasPrefix(string(read(t, at(t, "go.work"))), "go 1.26.") {
		t.Error("the image is built with another Go than go.work names")
	}
}
