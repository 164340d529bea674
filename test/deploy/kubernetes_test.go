package deploy

import (
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sallyport/pkg/service"
)

// each runs a test on what each overlay renders to.
func each(t *testing.T, f func(t *testing.T, overlay string, all []metav1.Object)) {
	t.Helper()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) { f(t, overlay, render(t, overlay)) })
	}
}

// All four services are deployed, each with its own account, and nothing is left without a namespace.
func TestKubernetesHasTheFourServices(t *testing.T) {
	each(t, func(t *testing.T, _ string, all []metav1.Object) {
		for _, s := range services {
			d := named[*appsv1.Deployment](t, all, s)
			if d.Spec.Template.Spec.ServiceAccountName != s {
				t.Errorf("%s runs as the account %q", s, d.Spec.Template.Spec.ServiceAccountName)
			}
			if a := named[*corev1.ServiceAccount](t, all, s); a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
				t.Errorf("the account %s hands out its token", s)
			}
			b := named[*policyv1.PodDisruptionBudget](t, all, s)
			if !matches(t, b.Spec.Selector, d.Spec.Template.Labels) || !matches(t, d.Spec.Selector, d.Spec.Template.Labels) {
				t.Errorf("budget or selector of %s is about other Pods", s)
			}
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				if !matches(t, c.LabelSelector, d.Spec.Template.Labels) {
					t.Errorf("%s spreads other Pods", s)
				}
			}
			if len(d.Spec.Template.Spec.TopologySpreadConstraints) != 2 {
				t.Errorf("%s is not spread over machines and zones", s)
			}
		}
		if got := len(of[*appsv1.Deployment](all)); got != len(services) {
			t.Errorf("%d deployments", got)
		}
		for _, o := range all {
			if _, ok := o.(*corev1.Namespace); !ok && o.GetNamespace() != "sallyport" {
				t.Errorf("%T %s is in the namespace %q", o, o.GetName(), o.GetNamespace())
			}
		}
	})
}

func matches(t *testing.T, s *metav1.LabelSelector, l map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(l))
}

// No Pod has a right that it does not need, and each has its bounds.
func TestKubernetesPodsHaveNoRights(t *testing.T) {
	each(t, func(t *testing.T, overlay string, all []metav1.Object) {
		for name, pod := range pods(all) {
			spec, s := pod.Spec, pod.Spec.SecurityContext
			switch {
			case spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken:
				t.Errorf("%s gets a token of the API server", name)
			case spec.HostNetwork || spec.HostPID || spec.HostIPC:
				t.Errorf("%s shares something with its machine", name)
			case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0:
				t.Errorf("%s may be root", name)
			case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
				t.Errorf("%s may make any system call", name)
			}
			for _, c := range append(slices.Clone(spec.InitContainers), spec.Containers...) {
				s := c.SecurityContext
				if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Privileged != nil && *s.Privileged ||
					s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
					s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0 {
					t.Errorf("%s: its container has more rights than it needs: %+v", name, s)
				}
				if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
					t.Errorf("%s: no bounds of processor and memory: %+v", name, c.Resources)
				}
				repository, tag, _ := strings.Cut(path.Base(c.Image), ":")
				if tag == "" || tag == "latest" {
					t.Errorf("%s: image %s is of no version", name, c.Image)
				}
				if !slices.Contains(append([]string{"sallyport"}, services...), repository) {
					t.Errorf("%s: image %s is none of ours", name, c.Image)
				}
				if overlay == "prod" && !strings.Contains(c.Image, ".") {
					t.Errorf("%s: image %s is of no registry", name, c.Image)
				}
			}
		}
	})
}

// A Pod gets traffic when it is ready, is started again when it is dead and only then, and is stopped with its work finished.
func TestKubernetesStartsAndStopsInOrder(t *testing.T) {
	each(t, func(t *testing.T, _ string, all []metav1.Object) {
		for _, d := range of[*appsv1.Deployment](all) {
			r := d.Spec.Strategy.RollingUpdate
			if r == nil || r.MaxUnavailable == nil || r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() < 1 {
				t.Errorf("%s: an update takes a Pod away before the new one is ready", d.Name)
			}
			c := d.Spec.Template.Spec.Containers[0]
			for what, p := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/healthz ": c.StartupProbe, "/readyz": c.ReadinessProbe} {
				if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != strings.TrimSpace(what) || port(c, p.HTTPGet.Port) != 9090 {
					t.Errorf("%s: a probe does not ask %s of the ops listener", d.Name, what)
				}
			}
			grace := d.Spec.Template.Spec.TerminationGracePeriodSeconds
			var sleep int64
			if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
				t.Errorf("%s stops while proxies still send to it", d.Name)
			} else {
				sleep = c.Lifecycle.PreStop.Sleep.Seconds
			}
			if grace == nil || *grace-sleep <= int64(service.StopTimeout.Seconds())+1 {
				t.Errorf("%s is killed before its work is finished", d.Name)
			}
		}
	})
}

// port is the number that a probe, a service or a policy means.
func port(c corev1.Container, p intstr.IntOrString) int {
	for _, have := range c.Ports {
		if p.Type == intstr.String && have.Name == p.StrVal || p.Type == intstr.Int && have.ContainerPort == p.IntVal {
			return int(have.ContainerPort)
		}
	}
	return 0
}

// secrets are what the documents say is in each Secret (k8s/README.md).
func secrets() map[string][]string {
	out := map[string][]string{
		"sallyport-keeper": {"nats-keeper.password", "ca.pem"},
		"sallyport-aws":    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
	}
	for _, s := range services {
		out["sallyport-"+s] = []string{s + ".json", "nats-" + s + ".password", "mongodb.uri", "ca.pem"}
		if s != "sms-dispatcher" {
			out["sallyport-aws-"+s] = out["sallyport-aws"] // with components/kms
		}
	}
	return out
}

// Each container is told what its binary knows, in files and by keys that exist.
func TestKubernetesSettings(t *testing.T) {
	each(t, func(t *testing.T, overlay string, all []metav1.Object) {
		maps := make(map[string]map[string]string)
		for _, m := range of[*corev1.ConfigMap](all) {
			maps[m.Name] = m.Data
		}
		for name, pod := range pods(all) {
			c := pod.Spec.Containers[0]
			env := make(map[string]string)
			for _, from := range c.EnvFrom {
				if from.ConfigMapRef == nil || maps[from.ConfigMapRef.Name] == nil {
					t.Fatalf("%s: settings from %+v, which is not there", name, from)
				}
				for k, v := range maps[from.ConfigMapRef.Name] {
					env[k] = v
				}
			}
			for _, v := range c.Env {
				env[v.Name] = v.Value
				if from := v.ValueFrom; from != nil {
					switch {
					case from.ConfigMapKeyRef != nil:
						value, ok := maps[from.ConfigMapKeyRef.Name][from.ConfigMapKeyRef.Key]
						if !ok {
							t.Errorf("%s: %s from a key that is not there: %+v", name, v.Name, from.ConfigMapKeyRef)
						}
						env[v.Name] = value
					case from.SecretKeyRef == nil || !slices.Contains(secrets()[from.SecretKeyRef.Name], from.SecretKeyRef.Key):
						t.Errorf("%s: %s comes from something that no document names: %+v", name, v.Name, from)
					}
				}
			}
			binary, _, _ := strings.Cut(path.Base(c.Image), ":")
			judge(t, "k8s "+overlay, binary, env)
			files := mounted(t, name, pod)
			for k, v := range env {
				if strings.HasSuffix(k, "_FILE") && !slices.Contains(files, v) {
					t.Errorf("%s: %s is %s, and mounted are %v", name, k, v, files)
				}
			}
			if s := "sallyport-" + strings.TrimPrefix(name, "nats-prepare"); slices.Contains(services, name) && pod.Spec.Volumes[0].Secret.SecretName != s {
				t.Errorf("%s sees the secret of another: %s", name, pod.Spec.Volumes[0].Secret.SecretName)
			}
		}
	})
}

// mounted are the files that a Pod's secrets put into its container.
func mounted(t *testing.T, name string, pod corev1.PodTemplateSpec) []string {
	t.Helper()
	var out []string
	for _, v := range pod.Spec.Volumes {
		if v.Secret == nil {
			t.Fatalf("%s: the volume %s is no secret", name, v.Name)
		}
		keys, ok := secrets()[v.Secret.SecretName]
		if !ok {
			t.Errorf("%s: no document names the secret %s", name, v.Secret.SecretName)
		}
		if v.Secret.DefaultMode == nil || *v.Secret.DefaultMode&0o007 != 0 {
			t.Errorf("%s: everybody may read the secret %s, and the service refuses it", name, v.Secret.SecretName)
		}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			if m.Name != v.Name {
				continue
			}
			if !m.ReadOnly {
				t.Errorf("%s may write to %s", name, m.MountPath)
			}
			for _, k := range keys {
				out = append(out, path.Join(m.MountPath, k))
			}
		}
	}
	return out
}

// People reach the gateway, by names that fit, and nothing else.
func TestKubernetesPublishesTheGateway(t *testing.T) {
	each(t, func(t *testing.T, _ string, all []metav1.Object) {
		gateway := named[*appsv1.Deployment](t, all, "auth-gateway").Spec.Template
		offered := of[*corev1.Service](all)
		if len(offered) != 1 || offered[0].Spec.Type != "" && offered[0].Spec.Type != corev1.ServiceTypeClusterIP {
			t.Fatalf("services: %+v", offered)
		}
		if !labels.SelectorFromSet(offered[0].Spec.Selector).Matches(labels.Set(gateway.Labels)) ||
			port(gateway.Spec.Containers[0], offered[0].Spec.Ports[0].TargetPort) != 8080 {
			t.Errorf("the service leads elsewhere: %+v", offered[0].Spec)
		}
		ingress := of[*networkingv1.Ingress](all)
		if len(ingress) != 1 || len(ingress[0].Spec.Rules) != 1 || len(ingress[0].Spec.TLS) != 1 {
			t.Fatalf("%d ingresses", len(ingress))
		}
		rule := ingress[0].Spec.Rules[0]
		back := rule.HTTP.Paths[0].Backend.Service
		if back.Name != "auth-gateway" || back.Port.Name != offered[0].Spec.Ports[0].Name {
			t.Errorf("the ingress leads to %+v", back)
		}
		var public string
		for _, m := range of[*corev1.ConfigMap](all) {
			if m.Data["PUBLIC_URL"] != "" {
				public = m.Data["PUBLIC_URL"]
			}
		}
		if public != "https://"+rule.Host || ingress[0].Spec.TLS[0].Hosts[0] != rule.Host {
			t.Errorf("the ingress is for %s, with a certificate for %v, and PUBLIC_URL is %s", rule.Host, ingress[0].Spec.TLS[0].Hosts, public)
		}
	})
}

// The scalers scale what there is; who is scaled has no count of its own, which would be set again with each apply.
func TestKubernetesScales(t *testing.T) {
	all := render(t, "prod")
	hpa := named[*autoscalingv2.HorizontalPodAutoscaler](t, all, "auth-gateway")
	keda := named[*scaledObject](t, all, "sms-dispatcher")
	for _, name := range []string{hpa.Spec.ScaleTargetRef.Name, keda.Spec.ScaleTargetRef.Name} {
		if d := named[*appsv1.Deployment](t, all, name); d.Spec.Replicas != nil {
			t.Errorf("%s is scaled, and counts %d by itself", name, *d.Spec.Replicas)
		}
	}
	if *hpa.Spec.MinReplicas < 2 || *keda.Spec.MinReplicaCount < 2 {
		t.Error("one machine that fails takes all replicas away")
	}
	for _, name := range []string{"totp-svc", "policy-svc"} {
		if d := named[*appsv1.Deployment](t, all, name); d.Spec.Replicas == nil || *d.Spec.Replicas < 2 {
			t.Errorf("%s has too few replicas", name)
		}
	}
	if j := named[*batchv1.Job](t, all, "nats-prepare"); j.Spec.TTLSecondsAfterFinished == nil {
		t.Error("the Job stays, and the next version of it cannot be applied")
	}
}
