"""A very small shop."""

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=80)
    city = models.CharField(max_length=40, db_index=True)
    visits = models.IntegerField(default=0)


class Product(models.Model):
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    product = models.ForeignKey(Product, models.CASCADE, related_name="orders")
    quantity = models.IntegerField()
