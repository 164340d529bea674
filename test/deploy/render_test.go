package deploy

import (
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// scaledObject is KEDA's kind as far as we use it: KEDA's own module brings the libraries of every cloud.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		ScaleTargetRef struct {
			APIVersion string `json:"apiVersion,omitempty"`
			Kind       string `json:"kind,omitempty"`
			Name       string `json:"name"`
		} `json:"scaleTargetRef"`
		PollingInterval *int32 `json:"pollingInterval,omitempty"`
		CooldownPeriod  *int32 `json:"cooldownPeriod,omitempty"`
		MinReplicaCount *int32 `json:"minReplicaCount,omitempty"`
		MaxReplicaCount *int32 `json:"maxReplicaCount,omitempty"`
		Fallback        *struct {
			FailureThreshold int32 `json:"failureThreshold"`
			Replicas         int32 `json:"replicas"`
		} `json:"fallback,omitempty"`
		Triggers []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// kinds are what may be shipped, with the type of its API.
var kinds = map[string]func() metav1.Object{
	"v1 Namespace":                            func() metav1.Object { return &corev1.Namespace{} },
	"v1 ServiceAccount":                       func() metav1.Object { return &corev1.ServiceAccount{} },
	"v1 ConfigMap":                            func() metav1.Object { return &corev1.ConfigMap{} },
	"v1 Service":                              func() metav1.Object { return &corev1.Service{} },
	"apps/v1 Deployment":                      func() metav1.Object { return &appsv1.Deployment{} },
	"batch/v1 Job":                            func() metav1.Object { return &batchv1.Job{} },
	"policy/v1 PodDisruptionBudget":           func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1 Ingress":            func() metav1.Object { return &networkingv1.Ingress{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() metav1.Object { return &autoscalingv2.HorizontalPodAutoscaler{} },
	"keda.sh/v1alpha1 ScaledObject":           func() metav1.Object { return &scaledObject{} },
	"monitoring.coreos.com/v1 PodMonitor":     func() metav1.Object { return &monitoringv1.PodMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() metav1.Object { return &monitoringv1.PrometheusRule{} },
}

// overlays are what people apply.
var overlays = []string{"dev", "prod"}

// render is what kustomize makes of an overlay, each object decoded into its type with no field left over.
func render(tb testing.TB, overlay string) []metav1.Object {
	tb.Helper()
	return rendered(tb, filesys.MakeFsOnDisk(), at(tb, "k8s", "overlays", overlay))
}

// rendered is what kustomize makes of a directory.
func rendered(tb testing.TB, files filesys.FileSystem, overlay string) []metav1.Object {
	tb.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, overlay)
	if err != nil {
		tb.Fatal(err)
	}
	var out []metav1.Object
	for _, r := range built.Resources() {
		raw, err := r.AsYAML()
		if err != nil {
			tb.Fatal(err)
		}
		kind := r.GetApiVersion() + " " + r.GetKind()
		make, ok := kinds[kind]
		if !ok {
			tb.Errorf("%s: %s %s: nobody has looked at that kind; add its type to kinds", overlay, kind, r.GetName())
			continue
		}
		o := make()
		if err := yaml.UnmarshalStrict(raw, o); err != nil {
			tb.Errorf("%s: %s %s is not what its API takes: %v", overlay, kind, r.GetName(), err)
		}
		out = append(out, o)
	}
	return out
}

// of are the objects of one type.
func of[T metav1.Object](all []metav1.Object) []T {
	var out []T
	for _, o := range all {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// named is the object of a type with this name.
func named[T metav1.Object](tb testing.TB, all []metav1.Object, name string) T {
	tb.Helper()
	for _, o := range of[T](all) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	tb.Fatalf("there is no %T %s", none, name)
	return none
}

// pods are all templates of Pods, by the name of what makes them.
func pods(all []metav1.Object) map[string]corev1.PodTemplateSpec {
	out := make(map[string]corev1.PodTemplateSpec)
	for _, d := range of[*appsv1.Deployment](all) {
		out[d.Name] = d.Spec.Template
	}
	for _, j := range of[*batchv1.Job](all) {
		out[j.Name] = j.Spec.Template
	}
	return out
}
