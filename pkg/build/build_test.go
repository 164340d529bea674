package build

import (
	"runtime/debug"
	"testing"
)

func TestWhatABinaryWasBuiltFrom(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if got, want := of(info, true), (Info{"v1.2.3", "abc-dirty", "go1.26.0"}); got != want {
		t.Errorf("%+v", got)
	}
	for _, got := range []Info{of(nil, false), of(&debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}}, true)} {
		if want := (Info{Unknown, Unknown, Unknown}); got != want {
			t.Errorf("%+v", got)
		}
	}
}

// What the build was told counts, whatever the Go command has noted.
func TestWhatTheBuildWasTold(t *testing.T) {
	noted := Read()
	version, revision = "1.2.3", "abc"
	defer func() { version, revision = "", "" }()
	if got, want := Read(), (Info{"1.2.3", "abc", noted.Go}); got != want {
		t.Errorf("%+v", got)
	}
}
