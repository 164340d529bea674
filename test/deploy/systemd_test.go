package deploy

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unit is a systemd unit: section → directive → values.
type unit map[string]map[string][]string

func units(tb testing.TB) map[string]unit {
	tb.Helper()
	files, err := filepath.Glob(at(tb, "deploy", "systemd", "*.service"))
	if err != nil || len(files) == 0 {
		tb.Fatal("no units", err)
	}
	out := make(map[string]unit)
	for _, f := range files {
		u, section := unit{}, ""
		for line := range strings.Lines(string(read(tb, f))) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, "["):
				section = strings.Trim(line, "[]")
				u[section] = map[string][]string{}
			default:
				k, v, ok := strings.Cut(line, "=")
				if !ok || u[section] == nil {
					tb.Fatalf("%s: %q", f, line)
				}
				u[section][k] = append(u[section][k], v)
			}
		}
		out[strings.TrimSuffix(filepath.Base(f), ".service")] = u
	}
	return out
}

// hardening is what every unit says, with the value that it must have.
var hardening = map[string]string{
	"NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
	"ProtectClock": "yes", "ProtectControlGroups": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes", "ProtectKernelModules": "yes",
	"ProtectKernelTunables": "yes", "ProtectProc": "invisible", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes",
	"RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "RemoveIPC": "yes",
	"CapabilityBoundingSet": "", "SystemCallArchitectures": "native", "UMask": "0077", "DynamicUser": "yes",
}

// Each unit starts a binary that is built, with settings that it knows, as nobody in particular, and lets it finish.
func TestSystemdUnits(t *testing.T) {
	all := units(t)
	want := map[string]string{"sallyport": "sallyport", "sallyport-infra": "sallyport"}
	for _, s := range services {
		want["sallyport-"+s] = s
	}
	if len(all) != len(want) {
		t.Errorf("%d units, want %d", len(all), len(want))
	}
	ports := map[string]string{}
	for name, u := range all {
		s := u["Service"]
		for k, v := range hardening {
			if len(s[k]) != 1 || s[k][0] != v {
				t.Errorf("%s: %s=%v, want %s", name, k, s[k], v)
			}
		}
		for k, v := range map[string]string{"Type": "notify", "TimeoutStartSec": "660", "Restart": "on-failure", "TimeoutStopSec": "15"} {
			if !slices.Equal(s[k], []string{v}) {
				t.Errorf("%s: %s=%v, want %s", name, k, s[k], v)
			}
		}
		if !slices.Equal(u["Install"]["WantedBy"], []string{"multi-user.target"}) || !slices.Equal(u["Unit"]["StartLimitIntervalSec"], []string{"0"}) {
			t.Errorf("%s does not start with the machine, or gives up", name)
		}
		command := strings.Fields(s["ExecStart"][0])
		binary := strings.TrimPrefix(command[0], "/usr/local/bin/")
		if binary != want[name] {
			t.Errorf("%s starts %s", name, command[0])
		}
		if binary == "sallyport" {
			if data := "--data=/var/lib/" + s["StateDirectory"][0]; !slices.Contains(command, data) || s["User"][0] != "sallyport" {
				t.Errorf("%s: %v does not keep its data where it may write", name, command)
			}
			continue
		}
		env := told(t, "sallyport.env.example")
		for k, v := range told(t, "parts.env.example") {
			env[k] = v
		}
		for _, v := range s["Environment"] {
			k, v, _ := strings.Cut(v, "=")
			env[k] = v
			if file, ok := strings.CutPrefix(v, "%d/"); ok && !slices.ContainsFunc(s["LoadCredential"], func(c string) bool { return strings.HasPrefix(c, file+":") }) {
				t.Errorf("%s: %s is %s, which nobody loads", name, k, v)
			}
			if k == "OPS_ADDR" {
				if ports[v] != "" {
					t.Errorf("%s and %s both listen at %s", name, ports[v], v)
				}
				ports[v] = name
				if !strings.Contains(string(read(t, at(t, "deploy", "prometheus", "targets.yaml"))), v) {
					t.Errorf("%s: nobody looks at %s (deploy/prometheus/targets.yaml)", name, v)
				}
			}
		}
		// Each reads what is its own, where there is such a file: nobody else's credentials.
		if want := []string{"/etc/sallyport/sallyport.env", "/etc/sallyport/parts.env", "-/etc/sallyport/" + binary + ".env"}; !slices.Equal(s["EnvironmentFile"], want) {
			t.Errorf("%s reads %v, want %v", name, s["EnvironmentFile"], want)
		}
		// What it is handed is there when the embedded parts are ready, and not before.
		if !strings.Contains(u["Unit"]["After"][0], "sallyport-infra.service") {
			t.Errorf("%s does not wait for the files that it is handed", name)
		}
		if binary == "sms-dispatcher" {
			for k, v := range told(t, "sms-dispatcher.env.example") {
				env[k] = v
			}
		}
		// The files hold settings of all; what a service does not know it passes over.
		for k := range env {
			if !has(known(t, binary), k) && !slices.ContainsFunc(services, func(s string) bool { return has(known(t, s), k) }) {
				t.Errorf("%s: no service knows %s", name, k)
			}
		}
		for k, required := range known(t, binary) {
			if _, ok := env[k]; required && !ok {
				t.Errorf("%s is not told %s", name, k)
			}
		}
		if strings.Join(s["LoadCredential"], " ") != "keyset:/var/lib/sallyport/keys/"+binary+".json nats-password:/var/lib/sallyport/keys/nats-"+binary+".password" {
			t.Errorf("%s loads %v", name, s["LoadCredential"])
		}
	}
}

// What opens an account at AWS is told to who sends texts, and to nobody else.
func TestSystemdCredentialsAreTheDispatchers(t *testing.T) {
	for _, file := range []string{"sallyport.env.example", "parts.env.example"} {
		for k := range told(t, file) {
			if strings.HasPrefix(k, "AWS_") {
				t.Errorf("%s, which all units read, has %s", file, k)
			}
		}
	}
	own := told(t, "sms-dispatcher.env.example")
	for _, k := range []string{"AWS_REGION", "AWS_ENDPOINT_URL_SNS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if _, ok := own[k]; !ok {
			t.Errorf("sms-dispatcher.env.example lacks %s", k)
		}
	}
	for name, u := range units(t) {
		reads := slices.Contains(u["Service"]["EnvironmentFile"], "-/etc/sallyport/sms-dispatcher.env")
		if reads != (name == "sallyport" || name == "sallyport-sms-dispatcher") {
			t.Errorf("%s reads the credentials: %t", name, reads)
		}
	}
}

func has(known map[string]bool, name string) bool {
	_, ok := known[name]
	if !ok {
		_, ok = known[strings.TrimSuffix(name, "_FILE")]
	}
	return ok
}

// told is what an example of an environment file says.
func told(tb testing.TB, file string) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	for line := range strings.Lines(string(read(tb, at(tb, "deploy", "systemd", file)))) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			out[k] = v
		}
	}
	return out
}

// systemd itself understands the units, where there is one to ask.
func TestSystemdVerifiesUnits(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here; TestSystemdUnits holds the directives")
	}
	dir := t.TempDir()
	var files []string
	for name := range units(t) {
		text := read(t, at(t, "deploy", "systemd", name+".service"))
		file := filepath.Join(dir, name+".service")
		// It looks whether the binary is there.
		write(t, file, regexp.MustCompile(`/usr/local/bin/[a-z-]+`).ReplaceAll(text, []byte("/bin/true")))
		files = append(files, file)
	}
	out, err := exec.Command(tool, append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v\n%s", err, out)
	}
}
