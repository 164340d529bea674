package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// withKMS is overlays/prod with its line about components taken in, as its comment says.
func withKMS(t *testing.T) []metav1.Object {
	t.Helper()
	const off, on = "# components: [../../components/kms]\n", "components: [../../components/kms]\n"
	files := filesys.MakeFsInMemory()
	root := at(t, "k8s")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(raw)
		inside, _ := filepath.Rel(root, path)
		if inside == filepath.Join("overlays", "prod", "kustomization.yaml") {
			if !strings.Contains(text, off) {
				t.Fatalf("%s does not say how keys under KMS are had", inside)
			}
			text = strings.Replace(text, off, on, 1)
		}
		return files.WriteFile("/k8s/"+filepath.ToSlash(inside), []byte(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	return rendered(t, files, "/k8s/overlays/prod")
}

// With keys that AWS KMS has wrapped, each service reaches it, and may be somebody there; all else is as without.
func TestKubernetesWithKMS(t *testing.T) {
	plain, all := render(t, "prod"), withKMS(t)
	const world = "the world:443"
	for name, pod := range pods(all) {
		before, after := talks(t, plain, name, pods(plain)[name]), talks(t, all, name, pod)
		asks := slices.Contains(services, name)
		if asks && !slices.Contains(after, world) {
			t.Errorf("%s does not reach KMS: %v", name, after)
		}
		drop := func(s string) bool { return asks && s == world }
		if before, after = slices.DeleteFunc(before, drop), slices.DeleteFunc(after, drop); !slices.Equal(before, after) {
			t.Errorf("%s talks to others than before: %v, %v", name, before, after)
		}
		if !asks {
			continue
		}
		secret := "sallyport-aws-" + name
		if name == "sms-dispatcher" {
			secret = "sallyport-aws" // its own, for SNS
		}
		env := named[*appsv1.Deployment](t, all, name).Spec.Template.Spec.Containers[0].Env
		for _, key := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			if !slices.ContainsFunc(env, func(v corev1.EnvVar) bool {
				from := v.ValueFrom
				return v.Name == key && from != nil && from.SecretKeyRef != nil && from.SecretKeyRef.Name == secret && from.SecretKeyRef.Key == key && *from.SecretKeyRef.Optional
			}) {
				t.Errorf("%s does not get %s of %s: %+v", name, key, secret, env)
			}
		}
	}
	for _, o := range all {
		if _, ok := o.(*corev1.Namespace); !ok && o.GetNamespace() != "sallyport" {
			t.Errorf("%T %s is in the namespace %q", o, o.GetName(), o.GetNamespace())
		}
	}
}

// What the papers offer as a policy of one's own is one, and is about Pods that there are.
func TestPoliciesOfThePapers(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(read(t, at(t, "docs", "deploy.md"))), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of YAML", len(blocks))
	}
	var p networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict([]byte(blocks[0][1]), &p); err != nil {
		t.Fatal(err)
	}
	for name, pod := range pods(render(t, "prod")) {
		if got := matches(t, &p.Spec.PodSelector, pod.Labels); got != (name == "sms-dispatcher") {
			t.Errorf("%s: %t", name, got)
		}
	}
	var got []string
	for _, r := range p.Spec.Egress {
		got = append(got, reached(t, r.To, ":", r.Ports, nil)...)
	}
	if len(got) != 2 || got[0] != "169.254.170.23:80" {
		t.Errorf("it opens %v", got)
	}
}

// The papers make the Secrets that the manifests name, each of its whole directory.
func TestSecretsOfThePapers(t *testing.T) {
	want := secrets()
	for _, file := range []string{"docs/deploy.md", "docs/runbook.md", "k8s/README.md"} {
		text := string(read(t, at(t, file)))
		for _, m := range regexp.MustCompile(`create secret generic (\S+)(.*)`).FindAllStringSubmatch(text, -1) {
			names := []string{m[1]}
			if strings.Contains(m[1], "$part") {
				names = nil
				before, _, _ := strings.Cut(text, m[0])
				loop := regexp.MustCompile(`for part in (.*?);`).FindAllStringSubmatch(before, -1)
				for part := range strings.FieldsSeq(loop[len(loop)-1][1]) {
					names = append(names, strings.Replace(m[1], "$part", part, 1))
				}
			}
			for _, name := range names {
				if name == "sallyport-nats" || name == "sallyport-mongodb" {
					continue // for the charts of those
				}
				if want[name] == nil {
					t.Errorf("%s makes the Secret %s, which no manifest names", file, name)
				}
				if !strings.Contains(m[2], "--from-file=secrets/$part") {
					t.Errorf("%s: %s is not the whole directory of the service: %s", file, name, m[0])
				}
			}
		}
	}
}

// The gateway has room for what it hashes at once: a quarter of its memory, for as much is garbage then, and as much again lives.
func TestHashesFitTheGateway(t *testing.T) {
	each(t, func(t *testing.T, _ string, all []metav1.Object) {
		limit := named[*appsv1.Deployment](t, all, "auth-gateway").Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value() >> 20
		for _, m := range of[*corev1.ConfigMap](all) {
			if m.Data["LISTEN_ADDR"] != "" {
				fits(t, limit, m.Data["PASSWORD_MEMORY_MIB"])
			}
		}
	})
	gateway := composed(t).Services["auth-gateway"]
	fits(t, int64(gateway.Deploy.Resources.Limits.MemoryBytes)>>20, environment(gateway)["PASSWORD_MEMORY_MIB"])
}

func fits(t *testing.T, limitMiB int64, room string) {
	t.Helper()
	if n, err := strconv.ParseInt(room, 10, 64); err != nil || n < 128 || 4*n > limitMiB {
		t.Errorf("hashes may take %q MiB of %d", room, limitMiB)
	}
}
