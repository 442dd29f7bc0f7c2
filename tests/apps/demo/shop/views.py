"""One view per reason for time, each as a real application would come to it.

Nothing here knows that it is watched.
"""

import fcntl
import os
import subprocess
import time
import uuid

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, F, Sum
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt

from .models import Customer, Order, Product


def home(request):
    """The fast page: no database, no template."""
    return HttpResponse("welcome to the shop\n", content_type="text/plain")


def products(request):
    """One statement and a template of fifty rows."""
    return render(request, "shop/products.html", {"products": Product.objects.order_by("name")})


def user(request, user_id):
    """Eight SQL statements, four Redis commands and a template: an ordinary page."""
    greeting = cache.get("greeting", "Hello")
    seen = cache.get(f"seen:{user_id}", 0)
    customer = get_object_or_404(Customer, pk=user_id)
    orders = customer.orders
    bought = Product.objects.filter(orders__customer=customer)
    context = {
        "greeting": greeting,
        "customer": customer,
        "orders": list(orders.select_related("product").order_by("-id")[:10]),
        "count": orders.count(),
        "spent": orders.aggregate(sum=Sum(F("product__price") * F("quantity")))["sum"],
        "favourites": list(bought.annotate(times=Count("orders")).order_by("-times", "id")[:3]),
        "neighbours": list(Customer.objects.filter(city=customer.city).order_by("id")[:5]),
        "newest": list(Product.objects.order_by("-id")[:5]),
    }
    Customer.objects.filter(pk=user_id).update(visits=F("visits") + 1)
    cache.set(f"seen:{user_id}", seen + 1, timeout=60)
    cache.touch("greeting", timeout=60)
    return render(request, "shop/user.html", context)


def bench(request):
    """The same page for the benchmark: always the same customer, so that every request is equal."""
    return user(request, 1)


def report(request):
    """N+1: a statement for the orders, then one for each order's product."""
    orders = Order.objects.order_by("-id")[:60]
    return JsonResponse({"sold": [f"{order.quantity} {order.product.name}" for order in orders]})


@csrf_exempt
def checkout(request):
    """A file lock, held while an external bookkeeping system is slow: the others wait for it."""
    with open(settings.DATA_DIR / "invoices.txt", "a+") as invoices:
        fcntl.flock(invoices, fcntl.LOCK_EX)
        time.sleep(0.02)
        print(uuid.uuid4(), file=invoices)
    return HttpResponse("paid\n", content_type="text/plain")


def thumbnail(request):
    """Pure computation in Python, about 20 ms."""
    total = 0
    for pixel in range(250_000):
        total = (total * 31 + pixel) % 65_521
    return HttpResponse(f"{total}\n", content_type="text/plain")


def partner(request):
    """Asks a partner politely: a fixed pause between two tries."""
    time.sleep(0.15)
    return HttpResponse("no answer yet\n", content_type="text/plain")


def export(request):
    """Writes a file and makes sure that it is on the disk."""
    path = settings.DATA_DIR / f"export-{uuid.uuid4()}.csv"
    with open(path, "w") as file:
        file.write("id,name,price\n" * 20_000)
        file.flush()
        os.fsync(file.fileno())
    size = path.stat().st_size
    path.unlink()
    return JsonResponse({"bytes": size})


@csrf_exempt
def upload(request):
    """Reads a body that comes as slowly as the client sends it."""
    size = 0
    while chunk := request.read(16_384):
        size += len(chunk)
    return JsonResponse({"bytes": size})


def archive(request):
    """Leaves work to another program and waits for it."""
    data = b"whyslow " * 200_000
    packed = subprocess.run(["gzip", "-6", "-c"], input=data, capture_output=True, check=True)
    return JsonResponse({"bytes": len(packed.stdout)})
