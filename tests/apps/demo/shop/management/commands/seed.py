"""Fills the database: the same rows each time."""

from django.core.management.base import BaseCommand

from shop.models import Customer, Order, Product

CITIES = ["Lisbon", "Kraków", "Ghent", "Turku", "Bilbao"]
CUSTOMERS, PRODUCTS, ORDERS = 200, 50, 3000


class Command(BaseCommand):
    help = __doc__

    def handle(self, **options):
        customers = Customer.objects.bulk_create(
            Customer(name=f"Customer {n}", city=CITIES[n % len(CITIES)]) for n in range(CUSTOMERS)
        )
        products = Product.objects.bulk_create(
            Product(name=f"Product {n}", price=n * 3 + 1) for n in range(PRODUCTS)
        )
        Order.objects.bulk_create(
            Order(
                customer=customers[n * 7 % CUSTOMERS],
                product=products[n * 11 % PRODUCTS],
                quantity=n % 5 + 1,
            )
            for n in range(ORDERS)
        )
