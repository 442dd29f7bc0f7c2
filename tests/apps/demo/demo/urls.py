"""One path per kind of work; see shop/views.py."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home),
    path("products", views.products),
    path("users/<int:user_id>", views.user),
    path("report", views.report),
    path("checkout", views.checkout),
    path("thumbnail", views.thumbnail),
    path("partner", views.partner),
    path("export", views.export),
    path("upload", views.upload),
    path("archive", views.archive),
    path("bench", views.bench),
]
