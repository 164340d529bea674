package deploy

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
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

// An image says what it was built from: what the Dockerfile hands to the linker is there to take it.
func TestImagesSayWhatTheyWereBuiltFrom(t *testing.T) {
	dockerfile := string(read(t, at(t, "deploy", "Dockerfile")))
	flags := regexp.MustCompile(`-ldflags "([^"]*)"`).FindStringSubmatch(dockerfile)
	if flags == nil || !strings.Contains(dockerfile, "ARG VERSION=\n") || !strings.Contains(dockerfile, "ARG REVISION=\n") {
		t.Fatal("the build is told nothing")
	}
	dir := t.TempDir()
	binary := filepath.Join(t.TempDir(), "totp-svc")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", strings.NewReplacer("${VERSION}", "1.2.3", "${REVISION}", "abc123").Replace(flags[1]), "-o", binary, "./services/totp-svc")
	cmd.Dir, cmd.Env = at(t), append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(sut.Binary(t, "sallyport"), "provision", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// It waits for a NATS that is not there, and can be asked meanwhile.
	addr := sut.FreeAddrs(t, 1)[0]
	p := sut.RunToolWith(t, binary, map[string]string{
		"NATS_URL": "nats://127.0.0.1:1", "MONGODB_URI": "mongodb://127.0.0.1:1", "KEYSET_FILE": filepath.Join(dir, "totp-svc", "totp-svc.json"), "OPS_ADDR": addr,
	})
	var said string
	sut.Eventually(t, 20*time.Second, "it says what it was built from", func() bool {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			return false
		}
		raw, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		said = string(raw)
		return strings.Contains(said, "sallyport_build_info{")
	})
	if line := regexp.MustCompile(`sallyport_build_info\{.*`).FindString(said); !strings.Contains(line, `version="1.2.3"`) || !strings.Contains(line, `revision="abc123"`) {
		t.Errorf("%s\n%s", line, p.Output())
	}
}
