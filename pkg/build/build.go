// Package build answers: from what was this binary built?
package build

import "runtime/debug"

// Set where the build cannot see them by itself, because the repository is not there (deploy/Dockerfile):
// go build -ldflags "-X sallyport/pkg/build.version=… -X sallyport/pkg/build.revision=…".
var version, revision string

// Unknown stands for what the build did not note.
const Unknown = "unknown"

// Info is what a binary was built from.
type Info struct{ Version, Revision, Go string }

// Read tells it of this binary.
func Read() Info {
	i := of(debug.ReadBuildInfo())
	if version != "" {
		i.Version = version
	}
	if revision != "" {
		i.Revision = revision
	}
	return i
}

// of is what the Go command has noted.
func of(info *debug.BuildInfo, ok bool) Info {
	i := Info{Unknown, Unknown, Unknown}
	if !ok {
		return i
	}
	if info.Main.Version != "" {
		i.Version = info.Main.Version
	}
	if info.GoVersion != "" {
		i.Go = info.GoVersion
	}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			i.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	if i.Revision != Unknown {
		i.Revision += changed
	}
	return i
}
